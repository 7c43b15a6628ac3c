import { randomBytes } from 'node:crypto';
import type { Digest } from '../../src/core/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/media-types.ts';
import type { Upstream } from '../../src/registry/server/upstream.ts';
import { sha256 } from './serve-lab.ts';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export interface UpstreamImage {
  layer: Buffer;
  digest: Digest;
  manifest: Buffer;
  manifestDigest: Digest;
}

/** An upstream in memory, that counts what it is asked and fails when told to. */
export class FakeUpstream implements Upstream {
  readonly title: string = 'https://upstream.example';
  readonly tags: Map<string, Digest> = new Map<string, Digest>();
  readonly manifests: Map<Digest, Buffer> = new Map<Digest, Buffer>();
  readonly blobs: Map<Digest, Buffer> = new Map<Digest, Buffer>();
  readonly asked: Record<'head' | 'manifest' | 'stat' | 'blob', number> = { head: 0, manifest: 0, stat: 0, blob: 0 };
  dead = false;
  /** Milliseconds between two parts of a blob. */
  pause = 0;
  /** What is sent instead of a blob. */
  lie: ((blob: Buffer) => Buffer) | undefined;

  async headManifest(_repository: string, tag: string): Promise<Digest | undefined> {
    this.asked.head++;
    this.#live();
    return this.tags.get(tag);
  }

  async getManifest(_repository: string, digest: Digest): Promise<{ bytes: Buffer; mediaType: string } | undefined> {
    this.asked.manifest++;
    this.#live();
    const bytes = this.manifests.get(digest);
    return bytes && { bytes, mediaType: MEDIA_TYPES.manifest };
  }

  async statBlob(_repository: string, digest: Digest): Promise<number | undefined> {
    this.asked.stat++;
    this.#live();
    return this.blobs.get(digest)?.length;
  }

  async *readBlob(_repository: string, { digest }: { digest: Digest }): AsyncGenerator<Uint8Array> {
    this.asked.blob++;
    this.#live();
    const blob = this.blobs.get(digest)!;
    const sent = this.lie?.(blob) ?? blob;
    for (let at = 0; at < sent.length; at += 65_536) {
      if (this.pause > 0) await sleep(this.pause);
      yield sent.subarray(at, at + 65_536);
    }
  }

  /** An image of one layer, given or of so many random bytes. */
  add(tag: string, content: number | Buffer): UpstreamImage {
    const layer = typeof content === 'number' ? randomBytes(content) : content;
    const config = Buffer.from(JSON.stringify({ tag }));
    const describe = (bytes: Buffer, mediaType: string): object => ({
      mediaType,
      digest: sha256(bytes),
      size: bytes.length,
    });
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.manifest,
        config: describe(config, 'application/vnd.oci.image.config.v1+json'),
        layers: [describe(layer, 'application/vnd.oci.image.layer.v1.tar')],
      }),
    );
    this.blobs.set(sha256(layer), layer);
    this.blobs.set(sha256(config), config);
    this.manifests.set(sha256(manifest), manifest);
    this.tags.set(tag, sha256(manifest));
    return { layer, digest: sha256(layer), manifest, manifestDigest: sha256(manifest) };
  }

  #live(): void {
    if (this.dead) throw new Error('connect ECONNREFUSED');
  }
}
