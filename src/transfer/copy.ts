import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { runTogether } from '../core/limit.ts';
import { defaultPlatform, platformOf } from '../image/image.ts';
import { parseConfig } from '../oci/config.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { type ImageManifest, parseManifest } from '../oci/manifest.ts';
import { isConfigType, layerKind } from '../oci/media-types.ts';
import { formatPlatform, matchPlatform, type Platform, selectPlatform } from '../oci/platform.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import type { Store } from '../store/store.ts';
import { type CopyDocument, type CopySource, type CopyTarget, parsePlace } from './copy-ends.ts';
import { openSource, openTarget } from './copy-open.ts';
import { pushWhole } from './push-whole.ts';

export interface CopyOptions {
  /** All that an index names, and the index itself; else the image of one platform. */
  all?: boolean;
  /** Default: this machine's. */
  platform?: Platform;
  /** How to talk to the registry that it comes from, and to the one that it goes to. */
  source?: ClientOptions;
  target?: ClientOptions;
  /** For `store:`. */
  openStore?: () => Store;
  onEvent?: (event: CopyEvent) => void;
  signal?: AbortSignal;
}

export type CopyEvent =
  /** `done` of `total` bytes of a blob; at the end how it got there. `from` is the repository of a mount. */
  | {
      type: 'blob';
      digest: Digest;
      config: boolean;
      status: 'copying' | 'copied' | 'exists' | 'mounted' | 'skipped';
      done?: number;
      total?: number;
      from?: string;
    }
  /** Of an index only this image is copied. */
  | { type: 'chosen'; index: Digest; digest: Digest; platform: Platform };

/** Indexes inside of indexes, and manifests in one. */
const DEEPEST = 4;
const MOST_CHILDREN = 1024;
const LARGEST_CONFIG = 4 * 2 ** 20;

/**
 * Copies an image from one place to another without unpacking it: the same bytes, the same digests, or an error.
 * Everything is verified on its way, and named at the end. Signatures and other referrers stay behind.
 * Throws `BAD_TRANSPORT`, `PLATFORM_MISMATCH`, `CANNOT_HOLD` (a Docker archive, several platforms), what the places
 * throw, and the client's errors.
 */
export async function copyImage(from: string, to: string, options: CopyOptions = {}): Promise<Descriptor> {
  const places = { source: parsePlace(from), target: parsePlace(to) };
  await using source = openSource(places.source, options);
  await using target = openTarget(places.target, options, source.repository);
  const work = new Copy(source, target, options);
  return await work.run();
}

class Copy {
  readonly #source: CopySource;
  readonly #target: CopyTarget;
  readonly #options: CopyOptions;
  readonly #done: Set<Digest> = new Set();

  constructor(source: CopySource, target: CopyTarget, options: CopyOptions) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
  }

  async run(): Promise<Descriptor> {
    const top = await this.#choose(await this.#source.readTop());
    this.#target.check?.(top);
    await pushWhole(async () => {
      this.#done.clear();
      await this.#copyBelow(top, 0);
      this.#options.signal?.throwIfAborted();
      await this.#target.finish(top);
    });
    return { mediaType: top.mediaType, digest: top.digest, size: top.bytes.length };
  }

  /** Of an index one image, unless all are wanted. */
  async #choose(top: CopyDocument): Promise<CopyDocument> {
    const { all, platform, onEvent } = this.#options;
    if (all === true) return top;
    const wanted = platform ?? defaultPlatform();
    let document = top;
    for (let depth = 0; depth < DEEPEST; depth++) {
      const parsed = parseManifest(document.bytes, document);
      if (parsed.kind === 'image') {
        if (platform !== undefined) await this.#checkPlatform(parsed.value, platform);
        return document;
      }
      const { manifests } = parsed.value;
      const chosen = selectPlatform(wanted, manifests, (d) => d.platform) ?? onlyOne(manifests);
      if (chosen === undefined) throw this.#mismatch(wanted, manifests);
      onEvent?.({ type: 'chosen', index: document.digest, digest: chosen.digest, platform: chosen.platform ?? wanted });
      document = await this.#source.readDocument(chosen);
    }
    throw this.#tooDeep();
  }

  async #checkPlatform(manifest: ImageManifest, wanted: Platform): Promise<void> {
    if (!isConfigType(manifest.config.mediaType)) return;
    const { value } = parseConfig(await this.#readConfig(manifest));
    if (!matchPlatform(wanted, platformOf(value))) {
      throw this.#mismatch(wanted, [{ ...manifest.config, platform: platformOf(value) }]);
    }
  }

  async #readConfig({ config }: ImageManifest): Promise<Uint8Array> {
    if (config.size > LARGEST_CONFIG) {
      throw new ImagoError('BAD_CONFIG', "the image's config is too large", {
        ref: config.digest,
        want: `at most ${LARGEST_CONFIG} bytes`,
        got: config.size,
      });
    }
    let bytes: Uint8Array = new Uint8Array();
    await this.#source.sendBlob(config, async (open) => {
      const parts: Uint8Array[] = [];
      for await (const part of open(0)) parts.push(Buffer.from(part));
      bytes = Buffer.concat(parts);
    });
    return bytes;
  }

  async #copyBelow(document: CopyDocument, depth: number): Promise<void> {
    const parsed = parseManifest(document.bytes, document);
    if (parsed.kind === 'image') return await this.#copyImage(parsed.value);
    const { manifests } = parsed.value;
    if (depth >= DEEPEST || manifests.length > MOST_CHILDREN) throw this.#tooDeep();
    for (const child of manifests) {
      this.#options.signal?.throwIfAborted();
      if (this.#done.has(child.digest) || (await this.#target.hasDocument(child))) continue;
      const inner = await this.#source.readDocument(child);
      await this.#copyBelow(inner, depth + 1);
      await this.#target.writeDocument(inner);
      this.#done.add(child.digest);
    }
  }

  async #copyImage(manifest: ImageManifest): Promise<void> {
    await this.#target.beginImage?.(manifest, () => this.#readConfig(manifest));
    const blobs = new Map<Digest, Descriptor>();
    for (const blob of [manifest.config, ...manifest.layers]) blobs.set(blob.digest, blob);
    const copy = async (blob: Descriptor, signal: AbortSignal): Promise<void> => {
      if (!this.#done.has(blob.digest)) await this.#copyBlob(blob, blob === manifest.config, signal);
      this.#done.add(blob.digest);
    };
    await runTogether([...blobs.values()], copy, { signal: this.#options.signal, atOnce: this.#target.atOnce });
  }

  async #copyBlob(blob: Descriptor, config: boolean, signal: AbortSignal): Promise<void> {
    const { digest, size: total } = blob;
    const tell = (event: Partial<CopyEvent> & { status: 'copying' | 'copied' | 'exists' | 'mounted' | 'skipped' }) =>
      this.#options.onEvent?.({ type: 'blob', digest, config, ...event } as CopyEvent);
    // It stays where its URLs say, as everywhere.
    if (layerKind(blob.mediaType)?.foreign === true && (blob.urls?.length ?? 0) > 0) return tell({ status: 'skipped' });
    if (await this.#target.hasBlob(blob)) return tell({ status: 'exists' });
    const { repository } = this.#source;
    if (repository !== undefined && (await this.#target.mountBlob?.(blob, repository))) {
      return tell({ status: 'mounted', from: repository });
    }
    const onProgress = (done: number): void => tell({ status: 'copying', done, total });
    onProgress(0);
    await this.#source.sendBlob(blob, (open) => this.#target.writeBlob(blob, open, { onProgress, signal }), signal);
    tell({ status: 'copied' });
  }

  #mismatch(wanted: Platform, manifests: readonly Descriptor[]): ImagoError {
    const have = manifests.flatMap(({ platform }) =>
      platform === undefined || platform.os === 'unknown' ? [] : [formatPlatform(platform)],
    );
    return new ImagoError('PLATFORM_MISMATCH', `${this.#source.title} has no image for this platform`, {
      want: formatPlatform(wanted),
      got: have.length === 0 ? 'none' : [...new Set(have)].slice(0, 30).join(', '),
      remedy: 'choose one of these with --platform, or copy them --all',
    });
  }

  #tooDeep(): ImagoError {
    return new ImagoError('INDEX_TOO_DEEP', `${this.#source.title} leads through too many indexes`, {
      want: `at most ${DEEPEST}, one in the other, with ${MOST_CHILDREN} manifests each`,
      remedy: 'name one image by its digest',
    });
  }
}

function onlyOne(manifests: readonly Descriptor[]): Descriptor | undefined {
  const [first, second] = manifests;
  return second === undefined && first?.platform === undefined ? first && bareDescriptor(first) : undefined;
}
