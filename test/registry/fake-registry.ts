import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type Fault, type Match, sendBody, Troubles } from './faults.ts';

/**
 * A registry in this process that keeps everything in memory, counts what travels, and misbehaves on demand.
 *
 *     await using registry = await FakeRegistry.start({ referrers: false });
 *     const digest = registry.putBlob('team/app', bytes);
 *     registry.putManifest('team/app', 'v1', { schemaVersion: 2, … });   // also putImage(sampleImage([tar]))
 *     registry.fault({ method: 'GET', path: /blobs/ }, { cutAfter: 1000 }, 2);   // the next two such requests
 *     openRepository({ domain: registry.host, path: 'team/app' });
 *     registry.count('GET', /blobs/); registry.bytesSent; registry.log;
 *
 * Switches: `FakeOptions` below, changeable at any time in `registry.options`. Faults: test/registry/faults.ts.
 */
export interface FakeOptions {
  /** The referrers API, and OCI-Subject in the answer to a push. Default true. */
  referrers?: boolean;
  /** The referrers API filters by artifactType itself and says so (OCI-Filters-Applied). Default true. */
  filters?: boolean;
  /** Mounts; without, the answer is 202 and an upload. Default true. */
  mounts?: boolean;
  /** Range requests for blobs; without, the answer is the whole blob and 200. Default true. */
  ranges?: boolean;
  /** ETag on blobs. Default true. */
  etags?: boolean;
  /** Docker-Content-Digest, everywhere. Default true. */
  digestHeaders?: boolean;
  /** Bytes that a request's body may have; more is 413. Default: no limit. */
  maxBody?: number;
  /** OCI-Chunk-Min-Length, told and kept to. */
  minChunk?: number;
  /** Tags and referrers in a page, at most. Default 100. */
  pageSize?: number;
  /** Location as a full URL, as docker-registry has it, or as a path. Default 'absolute'. */
  locations?: 'absolute' | 'relative';
  /** Blobs that a manifest names must be in the repository. Default true. */
  strict?: boolean;
  /** `user:password`; anything else is 401 with a Basic challenge. */
  basic?: string;
  /** Serves HTTPS. */
  tls?: { key: string | Buffer; cert: string | Buffer };
}

export interface LogEntry {
  method: string;
  /** Path with its query. */
  path: string;
  headers: IncomingMessage['headers'];
  status: number;
  /** Bytes of the bodies. */
  sent: number;
  received: number;
}

interface FakeManifest {
  bytes: Buffer;
  mediaType: string;
}

interface Repository {
  blobs: Set<string>;
  manifests: Map<string, FakeManifest>;
  tags: Map<string, string>;
}

interface Exchange {
  req: IncomingMessage;
  res: ServerResponse;
  url: URL;
  entry: LogEntry;
  fault: Fault | undefined;
}

const ERRORS: Record<number, string> = { 404: 'NAME_UNKNOWN', 401: 'UNAUTHORIZED', 413: 'SIZE_INVALID' };

export class FakeRegistry implements AsyncDisposable {
  options: FakeOptions;
  /** By digest, whichever repository has them. */
  readonly blobs: Map<string, Buffer> = new Map();
  readonly repositories: Map<string, Repository> = new Map();
  readonly uploads: Map<string, Buffer[]> = new Map();
  /** Every request, in the order of their arrival. */
  readonly log: LogEntry[] = [];
  /** Connections so far. */
  connections = 0;
  readonly #troubles: Troubles = new Troubles();
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  /** Uploads whose last chunk was shorter than `minChunk`. */
  readonly #ended: Set<string> = new Set();
  #ids = 0;

  private constructor(options: FakeOptions) {
    this.options = options;
    const listener = (req: IncomingMessage, res: ServerResponse): void => void this.#serve(req, res);
    this.#server = options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      this.connections++;
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(options: FakeOptions = {}): Promise<FakeRegistry> {
    const registry = new FakeRegistry(options);
    await new Promise<void>((done) => registry.#server.listen(0, '127.0.0.1', done));
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** As in a reference: `127.0.0.1:PORT`. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `${this.options.tls === undefined ? 'http' : 'https'}://${this.host}`;
  }

  get bytesSent(): number {
    return this.log.reduce((sum, entry) => sum + entry.sent, 0);
  }

  get bytesReceived(): number {
    return this.log.reduce((sum, entry) => sum + entry.received, 0);
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Requests so far, of a method and of a path that matches. */
  count(method?: string, path?: RegExp): number {
    return this.requests(method, path).length;
  }

  requests(method?: string, path: RegExp = /./): LogEntry[] {
    return this.log.filter((entry) => (method === undefined || entry.method === method) && path.test(entry.path));
  }

  /** The next `times` requests that match meet this fault. Faults are tried in the order of their setting. */
  fault(match: Match, fault: Fault, times = 1): void {
    this.#troubles.add(match, fault, times);
  }

  clearFaults(): void {
    this.#troubles.clear();
  }

  repository(name: string): Repository {
    let repository = this.repositories.get(name);
    if (repository === undefined) {
      repository = { blobs: new Set(), manifests: new Map(), tags: new Map() };
      this.repositories.set(name, repository);
    }
    return repository;
  }

  /** Returns the digest. */
  putBlob(name: string, bytes: Uint8Array, algorithm = 'sha256'): `sha256:${string}` {
    const digest = hash(bytes, algorithm);
    this.blobs.set(digest, Buffer.from(bytes));
    this.repository(name).blobs.add(digest);
    return digest as `sha256:${string}`;
  }

  /** `tag` undefined: by digest only. Objects become JSON. The media type is the document's own unless given. */
  putManifest(
    name: string,
    tag: string | undefined,
    manifest: Uint8Array | object,
    mediaType?: string,
  ): `sha256:${string}` {
    const bytes = Buffer.from(manifest instanceof Uint8Array ? manifest : JSON.stringify(manifest));
    const digest = hash(bytes);
    const own = (JSON.parse(bytes.toString()) as { mediaType?: string }).mediaType;
    const type = mediaType ?? own ?? 'application/vnd.oci.image.manifest.v1+json';
    this.repository(name).manifests.set(digest, { bytes, mediaType: type });
    if (tag !== undefined) this.repository(name).tags.set(tag, digest);
    return digest as `sha256:${string}`;
  }

  /** What `sampleImage` (test/archive/lab.ts) makes; returns the manifest's digest. */
  putImage(
    name: string,
    tag: string | undefined,
    image: { layers: { blob: Uint8Array }[]; config: Uint8Array; manifest: Uint8Array },
  ): `sha256:${string}` {
    for (const { blob } of image.layers) this.putBlob(name, blob);
    this.putBlob(name, image.config);
    return this.putManifest(name, tag, image.manifest);
  }

  /** Breaks all connections that are open now. */
  cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    this.cutConnections();
    await closed;
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = req.url ?? '/';
    const entry: LogEntry = { method: req.method ?? '', path, headers: req.headers, status: 0, sent: 0, received: 0 };
    this.log.push(entry);
    const x: Exchange = { req, res, url: new URL(path, this.url), entry, fault: undefined };
    res.on('error', () => {});
    try {
      x.fault = this.#troubles.take(entry.method, path);
      x.fault?.meanwhile?.();
      if (x.fault?.delayMs !== undefined) await new Promise((done) => setTimeout(done, x.fault!.delayMs));
      if (x.fault?.drop === true) req.socket.destroy();
      else if (x.fault?.status !== undefined) await this.#canned(x, x.fault.status);
      else if (!this.#authorized(req)) await this.#refuse(x, 401, { 'www-authenticate': 'Basic realm="fake"' });
      else await this.#route(x);
    } catch (error) {
      if (!req.socket.destroyed) await this.#answer(x, 500, {}, Buffer.from(String(error)));
    }
  }

  #authorized(req: IncomingMessage): boolean {
    const { basic } = this.options;
    return basic === undefined || req.headers.authorization === `Basic ${Buffer.from(basic).toString('base64')}`;
  }

  async #route(x: Exchange): Promise<void> {
    const path = decodeURIComponent(x.url.pathname);
    if (path === '/v2/') return this.#answer(x, 200, { 'content-type': 'application/json' }, Buffer.from('{}'));
    const match = /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\/(.*)$/.exec(path);
    if (match === null) return this.#refuse(x, 404);
    const [, name, kind, rest] = match as unknown as [string, string, string, string];
    if (kind === 'manifests') return this.#manifests(x, name, rest);
    if (kind === 'tags') return this.#tags(x, name);
    if (kind === 'referrers') return this.#referrers(x, name, rest);
    if (rest.startsWith('uploads/')) return this.#uploads(x, name, rest.slice('uploads/'.length));
    return this.#blobs(x, name, rest);
  }

  async #blobs(x: Exchange, name: string, digest: string): Promise<void> {
    const known = this.repositories.get(name)?.blobs;
    const bytes = known?.has(digest) ? this.blobs.get(digest) : undefined;
    if (bytes === undefined) return this.#refuse(x, 404, {}, 'BLOB_UNKNOWN');
    if (x.req.method === 'DELETE') {
      known!.delete(digest);
      return this.#answer(x, 202, {});
    }
    const etag: Record<string, string> = this.options.etags === false ? {} : { etag: `"${digest}"` };
    const headers = { 'content-type': 'application/octet-stream', ...this.#digestHeader(digest), ...etag };
    const range = /^bytes=(\d+)-(\d*)$/.exec(x.req.headers.range ?? '');
    const ifRange = x.req.headers['if-range'];
    const fresh = ifRange === undefined || ifRange === `"${digest}"`;
    if (range === null || this.options.ranges === false || x.fault?.ignoreRange === true || !fresh) {
      return this.#answer(x, 200, headers, bytes);
    }
    const start = Number(range[1]);
    const end = range[2] === '' ? bytes.length : Math.min(bytes.length, Number(range[2]) + 1);
    if (start >= end) return this.#refuse(x, 416, { 'content-range': `bytes */${bytes.length}` });
    const part = { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` };
    return this.#answer(x, 206, { ...headers, ...part }, bytes.subarray(start, end));
  }

  async #manifests(x: Exchange, name: string, reference: string): Promise<void> {
    if (x.req.method === 'PUT') return this.#putManifest(x, name, reference);
    const repository = this.repositories.get(name);
    const digest = repository?.tags.get(reference) ?? reference;
    const manifest = repository?.manifests.get(digest);
    if (x.req.method === 'DELETE' && repository?.tags.delete(reference)) return this.#answer(x, 202, {});
    if (repository === undefined || manifest === undefined) return this.#refuse(x, 404, {}, 'MANIFEST_UNKNOWN');
    if (x.req.method === 'DELETE') {
      repository.manifests.delete(digest);
      for (const [tag, tagged] of repository.tags) if (tagged === digest) repository.tags.delete(tag);
      return this.#answer(x, 202, {});
    }
    const headers = { 'content-type': manifest.mediaType, ...this.#digestHeader(digest), etag: `"${digest}"` };
    return this.#answer(x, 200, headers, manifest.bytes);
  }

  async #putManifest(x: Exchange, name: string, reference: string): Promise<void> {
    const body = await this.#body(x);
    if (body === undefined) return;
    const repository = this.repository(name);
    const tagged = repository.tags.get(reference);
    const match = x.req.headers['if-match'];
    if (match !== undefined && match !== `"${tagged}"`) return this.#refuse(x, 412);
    if (x.req.headers['if-none-match'] === '*' && tagged !== undefined) return this.#refuse(x, 412);
    const parsed = JSON.parse(body.toString()) as Record<string, { digest: string } | { digest: string }[] | undefined>;
    const algorithm = reference.startsWith('sha512:') ? 'sha512' : 'sha256';
    const digest = hash(body, algorithm);
    if (reference.includes(':') && reference !== digest) return this.#refuse(x, 400, {}, 'DIGEST_INVALID');
    const named = [parsed.config, parsed.layers].flat() as ({ digest: string } | undefined)[];
    const missing = named.find((item) => item !== undefined && !repository.blobs.has(item.digest));
    if (missing !== undefined && this.options.strict !== false) {
      return this.#refuse(x, 404, {}, 'MANIFEST_BLOB_UNKNOWN');
    }
    repository.manifests.set(digest, { bytes: body, mediaType: x.req.headers['content-type'] ?? '' });
    if (!reference.includes(':')) repository.tags.set(reference, digest);
    const subject = (parsed.subject as { digest: string } | undefined)?.digest;
    const told: Record<string, string> =
      subject !== undefined && this.options.referrers !== false ? { 'oci-subject': subject } : {};
    const location = this.#location(`/v2/${name}/manifests/${digest}`);
    return this.#answer(x, 201, { location, ...this.#digestHeader(digest), ...told });
  }

  async #tags(x: Exchange, name: string): Promise<void> {
    const repository = this.repositories.get(name);
    if (repository === undefined) return this.#refuse(x, 404);
    const last = x.url.searchParams.get('last') ?? '';
    const n = Math.min(Number(x.url.searchParams.get('n') ?? 1e9), this.options.pageSize ?? 100);
    const all = [...repository.tags.keys()].sort().filter((tag) => tag > last);
    const tags = all.slice(0, n);
    const link = `</v2/${name}/tags/list?n=${n}&last=${encodeURIComponent(tags.at(-1) ?? '')}>; rel="next"`;
    return this.#json(x, { name, tags }, all.length > n ? { link } : {});
  }

  async #referrers(x: Exchange, name: string, subject: string): Promise<void> {
    if (this.options.referrers === false) return this.#refuse(x, 404);
    const wanted = x.url.searchParams.get('artifactType');
    const filter = wanted !== null && this.options.filters !== false;
    const skip = Number(x.url.searchParams.get('skip') ?? 0);
    const size = this.options.pageSize ?? 100;
    const found: object[] = [];
    for (const [digest, { bytes, mediaType }] of this.repository(name).manifests) {
      const manifest = JSON.parse(bytes.toString()) as FakeReferrer;
      if (manifest.subject?.digest !== subject) continue;
      const artifactType = manifest.artifactType ?? manifest.config?.mediaType;
      if (filter && artifactType !== wanted) continue;
      found.push({ mediaType, digest, size: bytes.length, artifactType, annotations: manifest.annotations });
    }
    const query = `skip=${skip + size}${wanted === null ? '' : `&artifactType=${encodeURIComponent(wanted)}`}`;
    const link = `</v2/${name}/referrers/${subject}?${query}>; rel="next"`;
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const headers: Record<string, string> = { 'content-type': mediaType };
    if (filter) headers['oci-filters-applied'] = 'artifactType';
    if (found.length > skip + size) headers.link = link;
    return this.#json(x, { schemaVersion: 2, mediaType, manifests: found.slice(skip, skip + size) }, headers);
  }

  async #uploads(x: Exchange, name: string, id: string): Promise<void> {
    if (x.req.method === 'POST') return this.#startUpload(x, name);
    const parts = this.uploads.get(id);
    if (parts === undefined) return this.#refuse(x, 404, {}, 'BLOB_UPLOAD_UNKNOWN');
    if (x.req.method === 'DELETE') {
      this.uploads.delete(id);
      return this.#answer(x, 204, {});
    }
    if (x.req.method === 'GET') return this.#uploadState(x, name, id, 204);
    if (x.url.searchParams.get('state') !== `s${length(parts)}`) return this.#uploadState(x, name, id, 416);
    const range = /^(\d+)-(\d+)$/.exec(x.req.headers['content-range'] ?? '');
    if (range !== null && Number(range[1]) !== length(parts)) return this.#uploadState(x, name, id, 416);
    const body = await this.#body(x, parts);
    if (body === undefined) return;
    if (x.req.method === 'PUT') return this.#finishUpload(x, name, id);
    // Only the last chunk may be shorter.
    if (this.#ended.has(id)) return this.#refuse(x, 400, {}, 'SIZE_INVALID');
    if (body.length < (this.options.minChunk ?? 0)) this.#ended.add(id);
    return this.#uploadState(x, name, id, 202);
  }

  async #startUpload(x: Exchange, name: string): Promise<void> {
    const mount = x.url.searchParams.get('mount');
    const from = this.repositories.get(x.url.searchParams.get('from') ?? '');
    if (mount !== null && this.options.mounts !== false && from?.blobs.has(mount)) {
      this.repository(name).blobs.add(mount);
      const location = this.#location(`/v2/${name}/blobs/${mount}`);
      return this.#answer(x, 201, { location, ...this.#digestHeader(mount) });
    }
    const id = `upload-${++this.#ids}`;
    this.uploads.set(id, []);
    if (x.url.searchParams.has('digest')) {
      if ((await this.#body(x, this.uploads.get(id))) === undefined) return;
      return this.#finishUpload(x, name, id);
    }
    return this.#uploadState(x, name, id, 202);
  }

  async #finishUpload(x: Exchange, name: string, id: string): Promise<void> {
    const bytes = Buffer.concat(this.uploads.get(id)!);
    const wanted = x.url.searchParams.get('digest') ?? '';
    const digest = hash(bytes, wanted.split(':')[0]);
    if (digest !== wanted) return this.#refuse(x, 400, {}, 'DIGEST_INVALID');
    this.uploads.delete(id);
    this.putBlob(name, bytes, wanted.split(':')[0]);
    const location = this.#location(`/v2/${name}/blobs/${digest}`);
    return this.#answer(x, 201, { location, ...this.#digestHeader(digest) });
  }

  /** The Location carries a state that must come back, as docker-registry's does. */
  async #uploadState(x: Exchange, name: string, id: string, status: number): Promise<void> {
    const size = length(this.uploads.get(id)!);
    const headers: Record<string, string> = {
      location: this.#location(`/v2/${name}/blobs/uploads/${id}?state=s${size}`),
      range: `0-${Math.max(0, size - 1)}`,
      'docker-upload-uuid': id,
    };
    if (this.options.minChunk !== undefined) headers['oci-chunk-min-length'] = String(this.options.minChunk);
    return this.#answer(x, status, headers);
  }

  #location(path: string): string {
    return this.options.locations === 'relative' ? path : `${this.url}${path}`;
  }

  #digestHeader(digest: string): Record<string, string> {
    return this.options.digestHeaders === false ? {} : { 'docker-content-digest': digest };
  }

  /** Undefined where it was answered already (413), or the connection is gone. What came goes into `parts` as it comes. */
  async #body(x: Exchange, parts: Buffer[] = []): Promise<Buffer | undefined> {
    const before = parts.length;
    const limit = this.options.maxBody ?? Infinity;
    const cut = x.fault?.cutRequestAfter ?? Infinity;
    try {
      for await (const chunk of x.req as AsyncIterable<Buffer>) {
        x.entry.received += chunk.length;
        if (x.entry.received > limit) {
          parts.length = before;
          await this.#refuse(x, 413);
          x.req.socket.destroySoon();
          return undefined;
        }
        if (x.entry.received > cut) {
          parts.push(chunk.subarray(0, chunk.length - (x.entry.received - cut)));
          x.req.socket.destroy();
          return undefined;
        }
        parts.push(chunk);
      }
    } catch {
      return undefined;
    }
    return Buffer.concat(parts.slice(before));
  }

  async #canned(x: Exchange, status: number): Promise<void> {
    x.req.resume();
    await this.#answer(x, status, {}, Buffer.from(x.fault?.body ?? ''));
  }

  async #refuse(
    x: Exchange,
    status: number,
    headers: Record<string, string> = {},
    code = ERRORS[status],
  ): Promise<void> {
    if (status !== 413) x.req.resume();
    const errors = [{ code: code ?? 'UNKNOWN', message: `fake: ${status}` }];
    await this.#answer(
      x,
      status,
      { 'content-type': 'application/json', ...headers },
      Buffer.from(JSON.stringify({ errors })),
    );
  }

  async #json(x: Exchange, value: object, headers: Record<string, string> = {}): Promise<void> {
    await this.#answer(x, 200, { 'content-type': 'application/json', ...headers }, Buffer.from(JSON.stringify(value)));
  }

  async #answer(
    x: Exchange,
    status: number,
    headers: Record<string, string>,
    body: Buffer = Buffer.alloc(0),
  ): Promise<void> {
    x.entry.status = status;
    await sendBody(x.req, x.res, status, headers, body, x.fault, (bytes) => {
      x.entry.sent += bytes;
    });
  }
}

interface FakeReferrer {
  subject?: { digest: string };
  artifactType?: string;
  config?: { mediaType: string };
  annotations?: Record<string, string>;
}

export function hash(bytes: Uint8Array, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

function length(parts: Buffer[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
