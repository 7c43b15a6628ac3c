import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { parseServeConfig } from '../../src/registry/server/config.ts';
import { Log } from '../../src/registry/server/log.ts';
import { type RunningRegistry, type ServeParts, startRegistry } from '../../src/registry/server/serve.ts';
import { openFileStorage } from '../../src/registry/storage/files.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** A server in this process, on a port of its own, with its storage in a temporary directory. */
export interface Rig {
  url: string;
  port: number;
  directory: string;
  storage: RegistryStorage;
  running: RunningRegistry;
  /** What was logged, parsed. */
  log: Record<string, unknown>[];
}

export class ServeLab implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'imago-serve-'));
  readonly #rigs: Rig[] = [];

  /** A server with these settings (YAML), paths relative to the lab's directory. */
  async serve(settings = '', parts: Partial<ServeParts> & { directory?: string } = {}): Promise<Rig> {
    const directory = parts.directory ?? join(this.directory, `storage-${this.#rigs.length}`);
    const storage = parts.storage ?? (await openFileStorage(directory));
    const lines: Record<string, unknown>[] = [];
    const write = (text: string): void => {
      for (const line of text.split('\n')) if (line !== '') lines.push(JSON.parse(line));
    };
    const log = new Log({ format: 'json', write });
    const config = parseServeConfig(`address: 127.0.0.1:0\n${settings}`, 'settings', this.directory);
    const running = await startRegistry(config, { ...parts, storage, log });
    const rig: Rig = {
      url: running.url,
      port: Number(new URL(running.url).port),
      directory,
      storage,
      running,
      log: lines,
    };
    this.#rigs.push(rig);
    return rig;
  }

  /** A file in the lab; its path. */
  file(name: string, content: string | Buffer): string {
    const path = join(this.directory, name);
    writeFileSync(path, content);
    return path;
  }

  /** An htpasswd file with cheap hashes. */
  htpasswd(users: Record<string, string>, name = 'htpasswd'): string {
    const lines = Object.entries(users).map(([user, password]) => `${user}:${hashSync(password, 4)}\n`);
    return this.file(name, lines.join(''));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#rigs.map(({ running }) => running.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  user?: string;
}

/** One request on a connection of its own. `user` is 'name:password'. */
export function ask(url: string, { method = 'GET', headers = {}, body, user }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const auth = user === undefined ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` };
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const req = request(url, { method, agent: false, headers: { ...length, ...auth, ...headers } }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) }));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end(body);
  });
}

export function jsonOf(answer: Answer): Record<string, unknown> {
  return JSON.parse(answer.body.toString());
}

/** The code of the first error of an error answer. */
export function codeOf(answer: { body: Buffer | string }): string | undefined {
  return (JSON.parse(answer.body.toString()) as { errors?: { code: string }[] }).errors?.[0]?.code;
}

export function sha256(bytes: Buffer | string): `sha256:${string}` {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Pushes a blob and a manifest that names it; answers what a client would know afterwards. */
export async function pushImage(
  url: string,
  repository: string,
  tag: string,
  { size = 1000, user }: { size?: number; user?: string } = {},
): Promise<{ layer: Buffer; digest: string; manifest: Buffer; manifestDigest: string }> {
  const as = user === undefined ? {} : { user };
  const layer = randomBytes(size);
  const config = Buffer.from('{}');
  for (const blob of [layer, config]) {
    const put = await ask(`${url}/v2/${repository}/blobs/uploads/?digest=${sha256(blob)}`, {
      ...as,
      method: 'POST',
      body: blob,
      headers: { 'content-type': 'application/octet-stream' },
    });
    if (put.status !== 201) throw new Error(`a blob was answered with ${put.status}: ${put.body}`);
  }
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: sha256(layer), size: layer.length }],
    }),
  );
  const put = await ask(`${url}/v2/${repository}/manifests/${tag}`, {
    ...as,
    method: 'PUT',
    body: manifest,
    headers: { 'content-type': mediaType },
  });
  if (put.status !== 201) throw new Error(`the manifest was answered with ${put.status}: ${put.body}`);
  return { layer, digest: sha256(layer), manifest, manifestDigest: sha256(manifest) };
}

/** Sends bytes as they are over a connection, and resolves with all that came back once it ended (or after `wait` ms). */
export function sendRaw(
  port: number,
  text: string | Buffer,
  { wait = 10_000 }: { wait?: number } = {},
): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(done, wait);
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', done);
    socket.write(text);
  });
}
