import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryLockIfThere } from '../../src/system/lock.ts';

export interface StoreState {
  /** Names of files under refs/, and what is in them. */
  references: string[];
  /** Everything that is stored for good, files with their size and time. */
  kept: string[];
  /** What is under ingest/ and leases/. */
  unfinished: string[];
}

export function readState(root: string): StoreState {
  const below = (...names: string[]): string[] => names.flatMap((name) => listBelow(join(root, name), name));
  return {
    references: namesIn(join(root, 'refs')).map((name) => `${name} ${readFileSync(join(root, 'refs', name), 'utf8')}`),
    // Not cache/ and chains/: what is there may be made anew any time.
    kept: below('blobs', 'layers', 'volumes', 'quarantine', 'containers').filter((line) => !/\/\.names/.test(line)),
    unfinished: below('ingest', 'leases').filter((line) => !isBeingRemoved(root, line)),
  };
}

/** What `rmi` leaves to a process of its own, which holds its lock until it is done. */
function isBeingRemoved(root: string, line: string): boolean {
  const name = /^ingest\/(trash-[^/ ]+)/.exec(line)?.[1];
  if (name === undefined) return false;
  const lock = tryLockIfThere(join(root, 'ingest', name), 'exclusive');
  if (typeof lock === 'string') return true;
  lock.release();
  return false;
}

/** Sorted; empty where there is no such directory. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

function listBelow(directory: string, label: string): string[] {
  return namesIn(directory).flatMap((name) => {
    const path = join(directory, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return [];
    const shown = `${label}/${name}`;
    return stat.isDirectory() ? [`${shown}/`, ...listBelow(path, shown)] : [`${shown} ${stat.size} ${stat.mtimeMs}`];
  });
}

/** Mount points below a directory, in the order in which they were mounted. */
export function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal) => codeToText(octal)))
    .filter((path) => path.startsWith(`${directory}/`));
}

function codeToText(octal: string): string {
  return String.fromCharCode(Number.parseInt(octal, 8));
}

/** Processes, other than this one, whose command line or environment names the directory. */
export function processesNaming(directory: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && (mentions(pid, 'cmdline') || mentions(pid, 'environ')));

  function mentions(pid: number, file: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(Buffer.from(directory).toString('latin1'));
    } catch {
      return false;
    }
  }
}
