import { createHash, type Hash } from 'node:crypto';
import { closeSync, createWriteStream, openSync, readSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type PlainFile, plainDirectory, plainFile } from '../build/context/plain-source.ts';
import type { SourceNode } from '../build/context/source.ts';
import type { RemoteRights } from '../build/remote/secrets.ts';
import type { ByteString } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { formatSize } from '../core/sizes.ts';
import { detectCompression, MAGIC_LENGTH } from '../system/compression.ts';

/** A path, a git or http URL, or what comes as a stream: a tar, compressed or not, or a Dockerfile. */
export type ContextInput = string | AsyncIterable<Uint8Array>;

/** What came as one stream, in a file of this build's. */
export interface Arrived {
  /** 'text': anything but a tar. */
  kind: 'tar' | 'text';
  path: string;
  /** Bytes. */
  size: number;
  /** What a server says of it (Last-Modified). */
  modified?: Date;
  /** Of what came, still compressed where it was; undefined where nothing but its time was asked for. */
  digest?: Digest;
}

interface ReceiveOptions {
  /** Inflate, where it is compressed. */
  unpack: boolean;
  /** Leave the bytes where they are if the server says when they were changed. */
  timeOnly?: boolean;
  signal: AbortSignal | undefined;
  note(text: string): void;
  /** With which a URL is asked for. */
  rights?: RemoteRights;
}

const BLOCK = 512;

/** Takes a stream, or what an http URL gives, into a new file. Throws what inflating and fetching throw. */
export async function receive(input: ContextInput, path: string, options: ReceiveOptions): Promise<Arrived> {
  const { unpack, signal, note } = options;
  using client = typeof input === 'string' ? await openUrl(input, options) : undefined;
  const modified = client?.modified;
  if (options.timeOnly === true && modified !== undefined) return { kind: 'text', path, size: 0, modified };
  const source = client?.body ?? (input as AsyncIterable<Uint8Array>);
  const hasher = createHash('sha256');
  const { head, all } = await peek(hashed(source, hasher));
  const compressed = unpack && detectCompression(head) !== 'none';
  let bytes = all;
  if (compressed) {
    const { inflateArchive } = await import('../archive/inflate-stream.ts');
    bytes = await inflateArchive(all);
  }
  let size = 0;
  let start: Uint8Array = Buffer.alloc(0);
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      size += chunk.length;
      if (start.length < BLOCK) start = Buffer.concat([start, chunk]).subarray(0, BLOCK);
      yield chunk;
    }
  };
  await pipeline(counted, createWriteStream(path, { flags: 'wx', mode: 0o600 }), { signal });
  note(`transferring: ${formatSize(size)}`);
  const tar = isTarHeader(start);
  if (compressed && !tar) throw notATar();
  return {
    kind: tar ? 'tar' : 'text',
    path,
    size,
    digest: `sha256:${hasher.digest('hex')}`,
    ...(modified && { modified }),
  };
}

async function* hashed(source: AsyncIterable<Uint8Array>, hasher: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hasher.update(chunk);
    yield chunk;
  }
}

async function peek(source: AsyncIterable<Uint8Array>): Promise<{ head: Uint8Array; all: AsyncIterable<Uint8Array> }> {
  const input = source[Symbol.asyncIterator]();
  let head: Uint8Array = Buffer.alloc(0);
  while (head.length < MAGIC_LENGTH) {
    const step = await input.next();
    if (step.done) break;
    head = Buffer.concat([head, step.value]);
  }
  const all = async function* (): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
    for (let step = await input.next(); !step.done; step = await input.next()) yield step.value;
  };
  return { head, all: all() };
}

/** The checksum of a header (POSIX ustar; older tars have it, too), or the zeros of an empty archive. */
function isTarHeader(block: Uint8Array): boolean {
  if (block.length < BLOCK) return false;
  const told = Number.parseInt(
    Buffer.from(block.subarray(148, 156)).toString('latin1').replace(/\0.*$/s, '').trim(),
    8,
  );
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : block[i]!;
  return sum === told || block.every((byte) => byte === 0);
}

function notATar(): ImagoError {
  return new ImagoError('BAD_CONTEXT', 'the build context is compressed, but no tar', {
    remedy: 'give a tar of the files, or the Dockerfile as plain text',
  });
}

async function openUrl(
  text: string,
  { signal, rights }: ReceiveOptions,
): Promise<Disposable & { body: AsyncIterable<Uint8Array>; modified: Date | undefined }> {
  const url = URL.parse(text);
  if (url === null) {
    throw new ImagoError('BAD_CONTEXT', 'the build context is no URL', {
      got: text,
      want: 'http://HOST/PATH or https://HOST/PATH',
    });
  }
  const { UrlClient } = await import('../build/remote/http.ts');
  const client = new UrlClient({}, signal, rights);
  try {
    const body = await client.get(url, {});
    const time = Date.parse(body.headers['last-modified'] ?? '');
    const modified = Number.isNaN(time) ? undefined : new Date(time);
    return { body, modified, [Symbol.dispose]: () => client[Symbol.dispose]() };
  } catch (error) {
    client[Symbol.dispose]();
    throw error;
  }
}

/** A directory with one file, which is what arrived. */
export function fileNode(name: ByteString, { path, size }: Arrived): SourceNode {
  const open: PlainFile['open'] = () => {
    const fd = openSync(path, 'r');
    return {
      read: (buffer, offset, length, position) => readSync(fd, buffer, offset, length, position),
      close: () => closeSync(fd),
    };
  };
  return plainDirectory(new Map([[name, plainFile({ mode: 0o600, mtime: { sec: 0, nsec: 0 }, size, open })]]));
}
