import { accessSync, constants, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { replaceFile, uniqueName } from '../system/atomic.ts';
import { makeDirectories } from '../system/directories.ts';
import { networkFileSystem } from '../system/filesystem.ts';
import { currentUmask } from '../system/process.ts';
import { explainWrites } from './errors.ts';
import { DIRECTORIES } from './layout.ts';

/** The format of a store on disk. A change that an older Imago would misread gets the next number and a migration. */
const STORE_VERSION = 1;

const TRAVERSED: ReadonlySet<string> = new Set(['containers', 'volumes']);

export function defaultRoot(): string {
  if (process.env.IMAGO_ROOT) return process.env.IMAGO_ROOT;
  if (process.getuid?.() === 0) return '/var/lib/imago';
  return join(process.env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'imago');
}

export function defaultRun(): string {
  if (process.env.IMAGO_RUN) return process.env.IMAGO_RUN;
  if (process.getuid?.() === 0) return '/run/imago';
  return process.env.XDG_RUNTIME_DIR
    ? join(process.env.XDG_RUNTIME_DIR, 'imago')
    : join('/tmp', `imago-${process.getuid?.() ?? 'user'}`);
}

/**
 * What is made in a store has its own mode, of which the umask may take what others have. A program keeps the owner's
 * from it (`keepOwnersRights`); a library leaves its process's umask alone. Throws `UMASK_TAKES_OWNERS`.
 */
export function checkUmask(): void {
  const umask = currentUmask();
  if ((umask & 0o700) === 0) return;
  throw new ImagoError('UMASK_TAKES_OWNERS', "this process's umask takes rights that the owner needs", {
    want: 'one that takes nothing of the owner, as 022 or 077',
    got: umask.toString(8).padStart(4, '0'),
    remedy: 'set another with process.umask() before a store is opened',
  });
}

/** Checks the format of the store at `root`, and makes an empty one where there is none. */
export function prepareRoot(root: string): void {
  const version = readVersion(root);
  if (version === undefined) {
    createRoot(root);
    return;
  }
  refuseNetwork(root);
  if (version === String(STORE_VERSION)) {
    // The root is traversable by everybody, what is in it is not.
    if (process.geteuid?.() !== 0) checkReadable(root);
    return;
  }
  const number = /^[0-9]+$/.test(version) ? Number(version) : 0;
  if (number > STORE_VERSION) {
    throw new ImagoError('STORE_TOO_NEW', 'this store was written by a newer Imago', {
      path: root,
      want: `format ${STORE_VERSION}`,
      got: `format ${number}`,
      remedy: 'update imago, or choose another store with --root',
    });
  }
  throw new ImagoError('STORE_UNKNOWN', 'this store has a format that Imago does not know', {
    path: join(root, 'version'),
    want: `format ${STORE_VERSION}`,
    got: JSON.stringify(version.slice(0, 40)),
    remedy: 'choose another store with --root',
  });
}

function readVersion(root: string): string | undefined {
  try {
    return readFileSync(join(root, 'version'), 'latin1').trim();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    if (code === 'ENOTDIR' || code === 'EISDIR') {
      throw new ImagoError('STORE_UNKNOWN', 'this is not a store', {
        path: root,
        remedy: 'choose another with --root',
      });
    }
    if (code === 'EACCES') throw notReadable(root);
    throw error;
  }
}

function checkReadable(root: string): void {
  try {
    accessSync(join(root, 'refs'), constants.R_OK | constants.X_OK);
  } catch {
    throw notReadable(root);
  }
}

function notReadable(root: string): ImagoError {
  return new ImagoError('STORE_NOT_READABLE', 'no permission to read the store', {
    path: root,
    remedy: 'run as the user who owns it, or choose another with --root or IMAGO_ROOT',
  });
}

function createRoot(root: string): void {
  explainWrites(root, () => {
    // Traversable, since runtimes reach a container's bundle as other users; what is private says so itself.
    makeDirectories(root, 0o711);
    refuseNetwork(root);
    const foreign = readdirSync(root).filter((name) => !ownName(name));
    if (foreign.length > 0) {
      throw new ImagoError('STORE_UNKNOWN', 'this directory is not a store, and not empty', {
        path: root,
        got: foreign.slice(0, 3).join(', '),
        remedy: 'choose an empty directory with --root',
      });
    }
    for (const name of DIRECTORIES) {
      mkdirSync(join(root, name), { recursive: true, mode: TRAVERSED.has(name) ? 0o711 : 0o700 });
    }
    // The version comes last: a store that has one has its directories.
    replaceFile(join(root, 'version'), `${STORE_VERSION}\n`, {
      temporary: join(root, 'ingest', `tmp-${uniqueName()}`),
    });
  });
}

function ownName(name: string): boolean {
  return (
    name === 'version' || name === 'lock' || name === 'lost+found' || DIRECTORIES.some((d) => d.split('/')[0] === name)
  );
}

function refuseNetwork(root: string): void {
  const kind = networkFileSystem(root);
  if (kind === undefined) return;
  throw new ImagoError('STORE_ON_NETWORK', `a store cannot lie on a network file system (${kind})`, {
    path: root,
    remedy: 'choose a local directory with --root or IMAGO_ROOT',
  });
}

/** Makes RUN where it is missing (it is gone after a restart where /run is a tmpfs). */
export function prepareRun(run: string): void {
  const stat = lstatSync(run, { throwIfNoEntry: false });
  if (stat === undefined) {
    explainWrites(run, () => makeDirectories(run, 0o711));
    return;
  }
  // Without XDG_RUNTIME_DIR it lies in /tmp, where anybody could have made it first.
  const uid = process.getuid?.();
  if (stat.isDirectory() && (uid === undefined || uid === 0 || stat.uid === uid)) return;
  throw new ImagoError('RUN_NOT_OURS', 'the directory for running containers belongs to another user', {
    path: run,
    remedy: 'set IMAGO_RUN or XDG_RUNTIME_DIR to a directory of your own',
  });
}
