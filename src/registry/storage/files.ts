import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { ImagoError } from '../../core/errors.ts';
import { replaceFile } from '../../system/atomic.ts';
import { makeDirectories } from '../../system/directories.ts';
import { networkFileSystem } from '../../system/filesystem.ts';
import { composeStorage } from './compose.ts';
import { explainFileError, FileArea } from './files-area.ts';
import { FileBlobs } from './files-blobs.ts';
import { FileDocuments } from './files-documents.ts';
import { FileUploads } from './files-uploads.ts';
import type { RegistryStorage } from './storage.ts';

/** Content of `version`; another is another format. */
const FORMAT = 'imago registry 1\n';

/**
 * A storage in a directory of this machine, made where it is not there. Any number of processes may have it open.
 *
 * ```
 * DIR/version           format
 * DIR/lock              flock: held for moments by whoever renames, removes or lists
 * DIR/blobs/ALG/XX/HEX  blobs, as they are
 * DIR/documents/KEY,    documents: links, tags, records
 * DIR/uploads/ID/       data, info.json; flock on data: being written
 * DIR/tmp/              being written or removed
 * ```
 *
 * Throws `STORAGE_NETWORK` on a network file system, whose locks do not hold between machines, and `STORAGE_MISSING`
 * where there is none and `create` is false.
 */
export async function openFileStorage(
  directory: string,
  { create = true }: { create?: boolean } = {},
): Promise<RegistryStorage> {
  const root = resolve(directory);
  try {
    if (!create && !existsSync(join(root, 'version'))) throw noStorage(root);
    prepare(root);
  } catch (error) {
    throw explainFileError(error, root);
  }
  const area = new FileArea(root);
  const blobs = new FileBlobs(area);
  return composeStorage({
    title: `files ${root}`,
    documents: new FileDocuments(area),
    blobs,
    uploads: new FileUploads(area, blobs),
    sweep: async (options) => sweep(area, options),
    check: async () => checkWritable(area),
    close: async () => undefined,
  });
}

function noStorage(root: string): ImagoError {
  return new ImagoError('STORAGE_MISSING', "no registry's storage is there", {
    path: root,
    remedy: 'give the directory that the registry serves',
  });
}

function prepare(root: string): void {
  makeDirectories(root, 0o700);
  const network = networkFileSystem(root);
  if (network !== undefined) {
    throw new ImagoError('STORAGE_NETWORK', `the registry's storage is on a network file system (${network})`, {
      path: root,
      remedy: 'use a local directory, or S3 for several machines',
    });
  }
  const version = join(root, 'version');
  if (existsSync(version)) {
    const format = readFileSync(version, 'utf8');
    if (format !== FORMAT) {
      throw new ImagoError('STORAGE_VERSION', "the registry's storage is of another format", {
        path: version,
        want: JSON.stringify(FORMAT),
        got: JSON.stringify(format.slice(0, 60)),
        remedy: 'use the version of Imago that wrote it',
      });
    }
  } else if (
    readdirSync(root).some(
      (name) => name !== 'lost+found' && name !== 'lock' && name !== 'tmp' && !name.startsWith('.'),
    )
  ) {
    throw new ImagoError('STORAGE_FOREIGN', "the directory holds something that is not a registry's storage", {
      path: root,
      remedy: 'choose an empty directory',
    });
  }
  for (const name of ['tmp', 'blobs', 'documents', 'uploads']) makeDirectories(join(root, name), 0o755);
  closeSync(openSync(join(root, 'lock'), 'a', 0o600));
  if (!existsSync(version)) replaceFile(version, FORMAT);
}

function checkWritable(area: FileArea): void {
  const probe = area.temporary();
  try {
    writeFileSync(probe, 'x');
    rmSync(probe);
    for (const name of ['blobs', 'documents', 'uploads', 'lock']) statSync(area.path(name));
  } catch (error) {
    throw explainFileError(error, area.root);
  }
}

/** What was being written or removed, and uploads whose data was published before its process died. */
async function sweep(
  area: FileArea,
  options: { maxAgeMs: number; dryRun?: boolean; signal?: AbortSignal },
): Promise<{ bytes: number; count: number }> {
  const found = { bytes: 0, count: 0 };
  const oldest = Date.now() - options.maxAgeMs;
  const remove = (path: string): void => {
    found.count++;
    found.bytes += sizeOf(path);
    if (options.dryRun !== true) rmSync(path, { recursive: true, force: true });
  };
  for (const name of readdirSync(area.path('tmp'))) {
    options.signal?.throwIfAborted();
    const path = area.path('tmp', name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats !== undefined && stats.ctimeMs <= oldest) remove(path);
  }
  for (const id of readdirSync(area.path('uploads'))) {
    const path = area.path('uploads', id);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats !== undefined && stats.ctimeMs <= oldest && !existsSync(join(path, 'data'))) remove(path);
  }
  return found;
}

function sizeOf(path: string): number {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true) return stats?.size ?? 0;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}
