import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request as startRequest,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Digest } from '../../../src/core/digest.ts';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import { createHandler } from '../../../src/registry/server/handler.ts';
import type { HandlerOptions, RequestEvent } from '../../../src/registry/server/options.ts';
import { openFileStorage } from '../../../src/registry/storage/files.ts';
import type { RegistryStorage } from '../../../src/registry/storage/storage.ts';
import { parseErrors } from '../../../src/registry/wire/errors.ts';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

type Body = Uint8Array | string | AsyncIterable<Uint8Array>;

/** A registry on a port of its own, with its storage in a temporary directory. */
export class RegistryLab implements AsyncDisposable {
  readonly port: number;
  readonly storage: RegistryStorage;
  /** What requests were and how they ended, oldest first. */
  readonly events: RequestEvent[];
  readonly #close: () => Promise<void>;
  readonly #agent: Agent = new Agent({ keepAlive: true });

  private constructor(port: number, storage: RegistryStorage, events: RequestEvent[], close: () => Promise<void>) {
    this.port = port;
    this.storage = storage;
    this.events = events;
    this.#close = close;
  }

  /** With `storage`, a further replica on one that is open. */
  static async start(options: Partial<HandlerOptions> = {}): Promise<RegistryLab> {
    const directory = mkdtempSync(join(tmpdir(), 'imago-registry-'));
    const storage = options.storage ?? (await openFileStorage(join(directory, 'storage')));
    const events: RequestEvent[] = [];
    const onRequest = (event: RequestEvent): void => void events.push(event);
    const server = createServer(createHandler({ ...options, storage, onRequest }));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const close = async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      if (options.storage === undefined) await storage.close();
      rmSync(directory, { recursive: true, force: true });
    };
    return new RegistryLab((server.address() as AddressInfo).port, storage, events, close);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    await this.#close();
  }

  /** `target` is `/v2/…`, sent as it stands. A stream goes out chunked, unless the headers have a length. */
  send(method: string, target: string, headers: OutgoingHttpHeaders = {}, body?: Body): Promise<Answer> {
    const { port } = this;
    const whole = typeof body === 'string' || body instanceof Uint8Array ? Buffer.from(body) : undefined;
    const length = whole === undefined ? {} : { 'Content-Length': whole.length };
    const options = { host: '127.0.0.1', port, method, path: target, agent: this.#agent };
    return new Promise((resolve, reject) => {
      const request = startRequest({ ...options, headers: { ...length, ...headers } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      request.on('error', reject);
      if (body === undefined || whole !== undefined) request.end(whole);
      else void pour(body as AsyncIterable<Uint8Array>, request);
    });
  }

  get(target: string, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    return this.send('GET', target, headers);
  }

  async pushBlob(repository: string, bytes: Uint8Array | string, algorithm?: 'sha256' | 'sha512'): Promise<Digest> {
    const digest = digestOf(bytes, algorithm);
    const answer = await this.send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, {}, bytes);
    assert.equal(answer.status, 201, answer.body.toString());
    return digest;
  }

  /** By `reference`, or by its digest. */
  async pushManifest(
    repository: string,
    manifest: object | string,
    reference?: string,
    mediaType: string = MEDIA_TYPES.manifest,
  ): Promise<Digest> {
    const bytes = typeof manifest === 'string' ? manifest : JSON.stringify(manifest);
    const target = `/v2/${repository}/manifests/${reference ?? digestOf(bytes)}`;
    const answer = await this.send('PUT', target, { 'Content-Type': mediaType }, bytes);
    assert.equal(answer.status, 201, answer.body.toString());
    return answer.headers['docker-content-digest'] as Digest;
  }

  /** A small image, whole. `more` goes into its manifest. */
  async pushImage(repository: string, reference?: string, more: object = {}): Promise<Digest> {
    const config = descriptorOf(MEDIA_TYPES.config, '{"architecture":"amd64","os":"linux"}');
    const layer = descriptorOf(MEDIA_TYPES.layer, `layer of ${repository}`);
    await this.pushBlob(repository, '{"architecture":"amd64","os":"linux"}');
    await this.pushBlob(repository, `layer of ${repository}`);
    return this.pushManifest(repository, imageOf(config, [layer], more), reference);
  }
}

async function pour(body: AsyncIterable<Uint8Array>, request: ReturnType<typeof startRequest>): Promise<void> {
  try {
    for await (const chunk of body) {
      if (request.destroyed) return;
      if (!request.write(chunk)) await new Promise((resolve) => request.once('drain', resolve).once('close', resolve));
    }
    request.end();
  } catch (error) {
    request.destroy(error as Error);
  }
}

export function digestOf(bytes: Uint8Array | string, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function descriptorOf(
  mediaType: string,
  bytes: Uint8Array | string,
): { mediaType: string; digest: Digest; size: number } {
  return { mediaType, digest: digestOf(bytes), size: Buffer.byteLength(bytes) };
}

export function imageOf(config: object, layers: object[], more: object = {}): object {
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.manifest, config, layers, ...more };
}

export function indexOf(manifests: object[], more: object = {}): object {
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests, ...more };
}

/** Asserts an error answer: its status and first code. */
export function assertError(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.body.toString());
  assert.equal(parseErrors(answer.body)[0]?.code, code);
}
