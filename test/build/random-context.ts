/** What people, editors and checkouts do to the files of a build, at random but the same for the same seed. */
import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setXattr } from '../../src/system/xattr.ts';

export type Pick = <T>(from: readonly T[]) => T;

/** Mulberry32. */
export function picker(seed: number): Pick {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  return (from) => from[next() % from.length]!;
}

// Some differ in case or in normal form alone.
const NAMES = ['a', 'A', 'b.txt', 'd/a', 'd/b', 'd/e/f', 'é', 'e\u0301', '-x', 'passwd', 'd2/a'];
export const PASSWD = 'root:x:0:0::/:\nbob:x:5:6::/:\n';
const TEXTS = ['', 'x', 'y', PASSWD, 'root:x:0:0::/:\nbob:x:7:8::/:\n'];
const TARGETS = ['a', 'd', '../a', '/b.txt', 'nowhere', '.'];

interface Places {
  context: string;
  at: string;
  other: string;
  pick: Pick;
}

/** Of a file at `at`. */
const OF_FILES: readonly ((places: Places) => unknown)[] = [
  ({ at, pick }) => {
    const { atime, mtime } = statSync(at);
    writeFileSync(at, pick(['x', 'y']));
    utimesSync(at, atime, mtime);
  },
  ({ at, pick }) => chmodSync(at, pick([0o644, 0o755, 0o4711, 0o700])),
  ({ at, pick }) => setXattr(at, 'user.x', Buffer.from(pick(['1', '2']))),
  ({ at, pick }) => utimesSync(at, pick([1, 2]), pick([1, 2])),
  (places) => onto(places, renameSync),
  (places) => onto(places, linkSync),
  (places) => onto(places, cpSync),
  ({ at, other, context }) => {
    if (!isFile(other)) return;
    renameSync(at, join(context, 'swap'));
    if (existsSync(other)) renameSync(other, at);
    renameSync(join(context, 'swap'), other);
  },
];

const ANYWHERE: readonly ((places: Places) => unknown)[] = [
  ({ context, at, pick }) => {
    clear(context, at);
    writeFileSync(at, pick(TEXTS));
  },
  ({ context, at, pick }) => {
    if (at.endsWith('passwd')) return;
    clear(context, at);
    symlinkSync(pick(TARGETS), at);
  },
  ({ at }) => at.endsWith('passwd') || rmSync(at, { recursive: true, force: true }),
];

/** One change, or none where there is nothing to change. */
export function changeContext(context: string, pick: Pick): void {
  const [at, other] = [join(context, pick(NAMES)), join(context, pick(NAMES))];
  pick(isFile(at) ? [...ANYWHERE, ...OF_FILES] : ANYWHERE)({ context, at, other, pick });
}

function isFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** Makes room for a file, directories above it included. */
function clear(context: string, path: string): void {
  for (let above = dirname(path); above.length > context.length; above = dirname(above)) {
    if (lstatSync(above, { throwIfNoEntry: false })?.isDirectory() === false) rmSync(above);
  }
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { recursive: true, force: true });
}

function onto({ context, at, other }: Places, act: (from: string, to: string) => void): void {
  if (at === other || other.endsWith('passwd')) return;
  clear(context, other);
  if (existsSync(at)) act(at, other);
}
