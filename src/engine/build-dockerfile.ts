import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findSource, readSource, type SourceNode } from '../build/context/source.ts';
import { decodeDockerfile } from '../build/dockerfile-text.ts';
import { byteString } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import { parseIgnoreFile } from '../formats/dockerfile/ignore.ts';
import { readWholeFile } from '../system/read-whole.ts';
import type { Arrived } from './build-context-stream.ts';

/** A Dockerfile as the build read it: errors point into it. */
export interface DockerfileSource {
  name: string;
  text: string;
}

/** Bytes; more is no Dockerfile, and no ignore file. */
export const LARGEST_DOCKERFILE: number = 64 * 2 ** 20;
/** The Dockerfile beside the user's files, in both spellings of its name. Throws `NO_DOCKERFILE`. */
export async function readLocalDockerfile(
  context: string | undefined,
  file: string | DockerfileSource | undefined,
  signal?: AbortSignal,
): Promise<DockerfileSource> {
  if (typeof file === 'object') return file;
  const path = file ?? join(context ?? '.', 'Dockerfile');
  let bytes: Buffer | undefined;
  try {
    bytes = await readWholeFile(path, { limit: LARGEST_DOCKERFILE, signal: signal });
  } catch (error) {
    signal?.throwIfAborted();
    const { code } = error as NodeJS.ErrnoException;
    const lower = join(path, '..', 'dockerfile');
    if (code === 'ENOENT' && basename(path) === 'Dockerfile' && existsSync(lower)) {
      return await readLocalDockerfile(context, lower, signal);
    }
    throw noDockerfile(path, code === 'ENOENT' ? 'there is none' : String(code), error);
  }
  if (bytes === undefined) throw noDockerfile(path, 'it is too large');
  return { name: basename(path), text: decodeDockerfile(bytes) };
}

/** The Dockerfile of a context that is not the user's directory; symlinks do not lead out of it. */
export function readInnerDockerfile(root: SourceNode, file: string | DockerfileSource | undefined): DockerfileSource {
  if (typeof file === 'object') return file;
  for (const path of file === undefined ? ['Dockerfile', 'dockerfile'] : [file]) {
    const node = findSource(root, byteString(path), true);
    if (node?.type !== 'file') continue;
    if (node.size > LARGEST_DOCKERFILE) throw noDockerfile(path, 'it is too large');
    return { name: basename(path), text: decodeDockerfile(readSource(node)) };
  }
  throw noDockerfile(file ?? 'Dockerfile', 'there is none in the build context');
}

/** What arrived as one. Throws `NO_DOCKERFILE`. */
export function readArrivedDockerfile({ path, size }: Arrived): string {
  if (size > LARGEST_DOCKERFILE) throw noDockerfile('-', 'it is too large');
  return decodeDockerfile(readFileSync(path));
}

function noDockerfile(path: string, problem: string, cause?: unknown): ImagoError {
  return new ImagoError('NO_DOCKERFILE', `cannot read the Dockerfile: ${problem}`, {
    path,
    remedy: problem.startsWith('there is none') ? 'name it with -f, or build in its directory' : undefined,
    cause,
  });
}

/**
 * `own` is `NAME.dockerignore` beside the Dockerfile NAME, which wins over the context's. As with BuildKit only
 * directories of the user's have one: a tar or a repository has what is meant to be there. Anything but a file counts as
 * none. Throws `BAD_CONTEXT` for what cannot be read.
 */
export function readIgnore(context: string, own?: string): string[] {
  for (const path of [own, join(context, '.dockerignore')]) {
    if (path === undefined || !existsSync(path)) continue;
    const stat = statSync(path);
    if (!stat.isFile()) continue;
    if (stat.size > LARGEST_DOCKERFILE) throw badIgnore(path, 'it is too large');
    try {
      return parseIgnoreFile(readFileSync(path, 'utf8'));
    } catch (error) {
      throw badIgnore(path, (error as NodeJS.ErrnoException).code ?? String(error), error);
    }
  }
  return [];
}

function badIgnore(path: string, problem: string, cause?: unknown): ImagoError {
  return new ImagoError('BAD_CONTEXT', `cannot read the ignore file: ${problem}`, { path, cause });
}
