import { createHash } from 'node:crypto';
import {
  close,
  type Dirent,
  fdatasync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  write,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { displayName, latin1 } from '../core/bytes.ts';
import { type Digest, digestAlgorithm, isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import { formatReference, parseReference } from '../oci/reference.ts';
import { openRepository, type Repository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { uniqueName } from '../system/atomic.ts';
import { makeDirectories } from '../system/directories.ts';
import { checkCollisions, splitTitle, TAR_DIGEST, TITLE, UNPACK } from './artifact-names.ts';
import { unpackDirectory } from './artifact-unpack.ts';
import { getRemoteManifest } from './remote-manifest.ts';

export interface PullArtifactOptions extends ClientOptions {
  /** Where the files go (default: here). Made where it is missing. */
  directory?: string;
  /** Of an index; default this machine's. */
  platform?: Platform;
  /** Refuse to replace files that are there. Default: they are replaced, as oras does. */
  keepExisting?: boolean;
  /** `done` of `total` bytes of a file. */
  onFile?: (name: string, done: number, total: number) => void;
}

export interface PulledArtifact {
  /** In full. */
  reference: string;
  digest: Digest;
  artifactType: string;
  /** Below the directory, in the manifest's order. */
  files: string[];
  /** Blobs without a name, which were left alone. */
  unnamed: Digest[];
  annotations: Record<string, string>;
}

interface Wanted {
  descriptor: Descriptor;
  parts: string[];
  unpack: boolean;
}

/** Files at a time. */
const WORKERS = 4;
const writeAsync = promisify(write);

/**
 * Fetches the files of an artifact into a directory, as `oras pull` does: blobs by the names in their titles, packed
 * directories unpacked. All of it is fetched and checked in a directory of its own before anything gets its name.
 * Throws `BAD_TITLE`, `BAD_ARTIFACT`, `DIGEST_MISMATCH`, `FILE_EXISTS`, and what the registry's client throws.
 */
export async function pullArtifact(name: string, options: PullArtifactOptions = {}): Promise<PulledArtifact> {
  const reference = parseReference(name);
  await using repository = openRepository(reference, options);
  const { value: manifest, digest } = await getRemoteManifest(repository, reference, options);
  const named = manifest.layers.filter((layer) => layer.annotations?.[TITLE] !== undefined);
  const wanted = named.map((descriptor): Wanted => {
    const unpack = descriptor.annotations![UNPACK] === 'true';
    const parts = splitTitle(descriptor.annotations![TITLE]!);
    if (parts.length === 0 && !unpack) splitTitle('');
    return { descriptor, parts, unpack };
  });
  checkCollisions(wanted);
  const directory = options.directory ?? '.';
  makeDirectories(directory, 0o777);
  // Beside the files, so that they can be renamed; nobody else's, so that nobody swaps a directory for a symlink.
  const staging = join(directory, `.imago-pull-${uniqueName()}`);
  mkdirSync(staging, { mode: 0o700 });
  try {
    await fetchAll(repository, wanted, staging, options);
    const tree = join(staging, 'tree');
    await compose(wanted, staging, tree, options.signal);
    checkPlaces(tree, directory, options.keepExisting === true);
    moveTree(Buffer.from(tree), Buffer.from(directory));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return {
    reference: formatReference(reference),
    digest,
    artifactType: manifest.artifactType ?? manifest.config.mediaType,
    files: wanted.map(({ parts }) => parts.join('/') || '.'),
    unnamed: manifest.layers.filter((layer) => !named.includes(layer)).map((layer) => layer.digest),
    annotations: manifest.annotations ?? {},
  };
}

/** Blob number i as `staging/i`. The first failure ends the others. */
async function fetchAll(
  repository: Repository,
  wanted: readonly Wanted[],
  staging: string,
  options: PullArtifactOptions,
): Promise<void> {
  const failure = new AbortController();
  const signal = options.signal === undefined ? failure.signal : AbortSignal.any([options.signal, failure.signal]);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < wanted.length && !signal.aborted) {
      const index = next++;
      const { descriptor, parts } = wanted[index]!;
      const name = parts.join('/') || '.';
      await fetchFile(repository, descriptor, join(staging, String(index)), signal, (done) =>
        options.onFile?.(name, done, descriptor.size),
      );
    }
  };
  const workers = Array.from({ length: Math.min(WORKERS, wanted.length) }, () =>
    work().catch((error: unknown) => {
      failure.abort(error);
      throw error;
    }),
  );
  const results = await Promise.allSettled(workers);
  options.signal?.throwIfAborted();
  if (failure.signal.aborted) throw failure.signal.reason;
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function fetchFile(
  repository: Repository,
  descriptor: Descriptor,
  path: string,
  signal: AbortSignal,
  onProgress: (done: number) => void,
): Promise<void> {
  const { digest, size } = descriptor;
  const hash = createHash(digestAlgorithm(digest));
  const fd = openSync(path, 'wx', 0o666);
  let done = 0;
  try {
    for await (const chunk of repository.readBlob(descriptor, { signal })) {
      done += chunk.length;
      if (done > size) break;
      hash.update(chunk);
      for (let at = 0; at < chunk.length; )
        at += (await writeAsync(fd, chunk, at, chunk.length - at, null)).bytesWritten;
      onProgress(done);
    }
    await promisify(fdatasync)(fd);
  } finally {
    await promisify(close)(fd);
  }
  const got = `${digestAlgorithm(digest)}:${hash.digest('hex')}`;
  if (done === size && got === digest) return;
  throw new ImagoError('DIGEST_MISMATCH', 'the registry sent other bytes than it promised', {
    ref: repository.name,
    want: `${digest}, ${size} bytes`,
    got: done === size ? got : `${done > size ? 'more than ' : ''}${Math.min(done, size)} bytes`,
    remedy: 'try again; if it stays, the registry or something between is damaged',
  });
}

/** Puts all under their names below `tree`. */
async function compose(
  wanted: readonly Wanted[],
  staging: string,
  tree: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  mkdirSync(tree);
  for (const [index, { descriptor, parts, unpack }] of wanted.entries()) {
    signal?.throwIfAborted();
    const blob = join(staging, String(index));
    makeParents(tree, unpack ? parts : parts.slice(0, -1));
    const target = join(tree, ...parts);
    if (unpack) {
      const told = descriptor.annotations![TAR_DIGEST];
      const tarDigest = told !== undefined && isDigest(told) && told.startsWith('sha256:') ? told : undefined;
      await unpackDirectory(blob, target, { title: parts, tarDigest, size: descriptor.size, signal });
      rmSync(blob);
      continue;
    }
    // An unpacked directory may have brought one of the same name.
    if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) throw inTheWay(parts.join('/'));
    renameSync(blob, target);
  }
}

/** Not by symlinks that an unpacked directory brought. */
function makeParents(tree: string, parts: readonly string[]): void {
  let path = tree;
  for (const part of parts) {
    path = join(path, part);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) mkdirSync(path);
    else if (!stat.isDirectory()) throw inTheWay(parts.join('/'));
  }
}

function inTheWay(name: string): ImagoError {
  return new ImagoError('BAD_TITLE', 'two files of the artifact have one name', { got: JSON.stringify(name) });
}

/** Looks at all of it first: a pull that cannot be placed whole places nothing. */
function checkPlaces(tree: string, directory: string, keepExisting: boolean): void {
  const visit = (from: Buffer, to: Buffer): void => {
    for (const entry of entriesOf(from)) {
      const target = child(to, entry.name);
      const stat = lstatSync(target, { throwIfNoEntry: false });
      if (stat === undefined) continue;
      const shown = displayName(latin1(target));
      if (entry.isDirectory() !== stat.isDirectory()) {
        throw new ImagoError('FILE_EXISTS', `cannot write '${shown}'`, {
          want: entry.isDirectory() ? 'a directory' : 'a file',
          got: stat.isDirectory() ? 'a directory' : stat.isSymbolicLink() ? 'a symlink' : 'a file',
          remedy: 'move it away, or choose another directory with -o',
        });
      }
      if (entry.isDirectory()) visit(child(from, entry.name), target);
      else if (keepExisting) {
        throw new ImagoError('FILE_EXISTS', `'${shown}' is there already`, {
          remedy: 'move it away, or choose another directory with -o',
        });
      }
    }
  };
  visit(Buffer.from(tree), Buffer.from(directory));
}

function moveTree(from: Buffer, to: Buffer): void {
  for (const entry of entriesOf(from)) {
    const [source, target] = [child(from, entry.name), child(to, entry.name)];
    if (entry.isDirectory() && lstatSync(target, { throwIfNoEntry: false }) !== undefined) moveTree(source, target);
    else renameSync(source, target);
  }
}

function entriesOf(directory: Buffer): Dirent<NonSharedBuffer>[] {
  return readdirSync(directory, { withFileTypes: true, encoding: 'buffer' });
}

function child(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}
