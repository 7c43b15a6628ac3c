import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import type { BuildOutput } from './output-options.ts';

/** What is known of a result before there is one. */
export interface ResultShape {
  /** Has it a name? */
  named: boolean;
  /** Several platforms, or attestations. */
  indexed: boolean;
}

/**
 * Whether the outputs can be made: told before a build, not after it. Throws `CANNOT_WRITE`, `NO_NAME`, `BAD_OUTPUT`.
 */
export function checkOutputs(outputs: readonly BuildOutput[], { named, indexed }: ResultShape): void {
  if (outputs.filter(({ dest }) => dest === '-').length > 1) {
    throw new ImagoError('BAD_OUTPUT', 'multiple outputs configured to write to stdout', { remedy: 'name files' });
  }
  for (const { type, dest, tar, push = false, pushByDigest = false, names = [] } of outputs) {
    if ((type === 'registry' || push || pushByDigest) && !named && names.length === 0) {
      throw new ImagoError('NO_NAME', 'tag is needed when pushing to registry', {
        remedy: 'name the image with --tag',
      });
    }
    if (type === 'docker' && dest !== undefined && indexed) {
      throw new ImagoError('BAD_OUTPUT', 'a docker archive holds no index', { remedy: 'use type=oci' });
    }
    if (dest === undefined || dest === '-') continue;
    checkWritable(dest, type === 'local' || tar === false ? 'directory' : 'file');
  }
}

/** Whether a file, or a directory with all that leads to it, can be made at a path. Throws `CANNOT_WRITE`. */
export function checkWritable(path: string, kind: 'file' | 'directory'): void {
  let place = resolve(path);
  const stat = statSync(place, { throwIfNoEntry: false });
  if (stat !== undefined && stat.isDirectory() !== (kind === 'directory')) {
    throw cannot(path, stat.isDirectory() ? 'it is a directory' : 'it is no directory');
  }
  if (stat === undefined) {
    place = dirname(place);
    // Directories on the way to a directory are made.
    while (kind === 'directory' && statSync(place, { throwIfNoEntry: false }) === undefined) place = dirname(place);
  }
  try {
    accessSync(place, constants.W_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw cannot(path, code === 'ENOENT' ? 'its directory does not exist' : String(code), cause);
  }
}

function cannot(path: string, got: string, cause?: unknown): ImagoError {
  return new ImagoError('CANNOT_WRITE', `cannot write '${path}'`, { got, remedy: 'choose another place', cause });
}
