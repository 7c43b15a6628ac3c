import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { OVERLAY_OPAQUE, YES } from '../formats/erofs/xattrs.ts';
import { explainWrites } from '../store/errors.ts';
import { Ingest } from '../store/ingest.ts';
import type { Store } from '../store/store.ts';
import { replaceFile } from '../system/atomic.ts';
import { bootId } from '../system/boot.ts';
import { SystemError } from '../system/call.ts';
import { mknod } from '../system/files.ts';
import { closeFd, createMount, MOUNT_ATTR, MS, mount } from '../system/mount.ts';
import { withNewNamespace } from '../system/thread-namespace.ts';
import { setXattr } from '../system/xattr.ts';
import { BACKENDS, type Backend, type IndexedLayer } from './backend.ts';
import { mountIndex } from './mount-index.ts';
import { createOverlay, LOWER_PASSING, type Lower, type LowerPassing, OVERLAY_OPTIONS } from './overlay.ts';
import { PROBE_CONTENT, PROBE_NAME, writeProbeLayer } from './probe-layer.ts';

/** What was found out about this machine and this store, by trying. */
export interface Probe {
  /** For each backend that was tried, 'ok' or the kernel's reason: an errno's name with the call. */
  results: Partial<Record<Backend, string>>;
  /** How an overlay takes its lowers here; undefined where there is no overlay at all, with the reason. */
  passing: LowerPassing | undefined;
  passingReason: string | undefined;
}

/** RUN/backend.json. Holds for one boot, one store and the file system that it lies on. */
interface ProbeRecord extends Probe {
  format: number;
  boot: string;
  root: string;
  device: string;
}

const FORMAT = 1;
const S_IFCHR = 0o020000;

/**
 * The backend to use: the one that `forced` names (IMAGO_BACKEND), else the first that works.
 * Throws `BAD_BACKEND` for an unknown name, `BACKEND_NOT_AVAILABLE` with the kernel's reason.
 */
export function chooseBackend(store: Store, forced: string | undefined): { backend: Backend; probe: Probe } {
  const wanted = forced === undefined || forced === '' ? undefined : parseBackend(forced);
  if (process.geteuid?.() !== 0) return chooseWithoutRoot(wanted);
  const device = String(statSync(store.root, { bigint: true }).dev);
  const key = { format: FORMAT, boot: bootId(), root: store.root, device };
  const path = join(store.run, 'backend.json');
  const known = readRecord(path, key);
  const probe: Probe = known ?? { results: {}, passing: undefined, passingReason: undefined };
  const order = wanted === undefined ? BACKENDS : [wanted];
  const works = (): Backend | undefined => order.find((name) => probe.results[name] === 'ok');
  if (works() === undefined && order.some((name) => probe.results[name] === undefined)) {
    explainWrites(store.root, () => tryOut(store, order, probe, known === undefined));
    if (isLasting(probe)) writeRecord(path, { ...key, ...probe });
  }
  const backend = works();
  if (backend !== undefined) return { backend, probe };
  if (wanted !== undefined) throw notAvailable(wanted, probe.results[wanted] ?? '');
  // Nothing can be mounted, but what needs no mount works.
  return { backend: 'unpacked', probe: { ...probe, passing: undefined, passingReason: probe.results.unpacked } };
}

/** Fills in `probe`, up to the first backend that works. */
function tryOut(store: Store, order: readonly Backend[], probe: Probe, passing: boolean): void {
  using place = new ProbePlace(store);
  for (const name of order) {
    probe.results[name] ??= tryBackend(name, place);
    if (probe.results[name] === 'ok') break;
  }
  if (passing) Object.assign(probe, tryPassing(place.directory));
}

function writeRecord(path: string, record: ProbeRecord): void {
  try {
    replaceFile(path, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  } catch {
    // It only saves the next command some milliseconds.
  }
}

function parseBackend(text: string): Backend {
  const found = BACKENDS.find((name) => name === text);
  if (found !== undefined) return found;
  throw new ImagoError('BAD_BACKEND', 'unknown backend', {
    want: BACKENDS.join(', '),
    got: JSON.stringify(text),
    remedy: 'correct or unset IMAGO_BACKEND',
  });
}

function notAvailable(backend: Backend, reason: string): ImagoError {
  const hint = reason.includes('ENOTBLK')
    ? 'the store lies on a file system that EROFS cannot mount files of; use erofs-loop, or another --root'
    : 'unset IMAGO_BACKEND to let Imago choose';
  return new ImagoError('BACKEND_NOT_AVAILABLE', `the backend '${backend}' does not work here`, {
    op: 'mount',
    got: reason,
    remedy: hint,
    exitCode: 125,
  });
}

function chooseWithoutRoot(wanted: Backend | undefined): { backend: Backend; probe: Probe } {
  const reason = 'not root';
  if (wanted !== undefined && wanted !== 'unpacked') throw notAvailable(wanted, reason);
  const results = { erofs: reason, 'erofs-loop': reason, unpacked: 'ok' };
  return { backend: 'unpacked', probe: { results, passing: undefined, passingReason: reason } };
}

function readRecord(path: string, key: Omit<ProbeRecord, keyof Probe>): ProbeRecord | undefined {
  let record: ProbeRecord;
  try {
    record = JSON.parse(readFileSync(path, 'utf8')) as ProbeRecord;
  } catch {
    return undefined;
  }
  const same = (Object.keys(key) as (keyof typeof key)[]).every((name) => record[name] === key[name]);
  return same ? record : undefined;
}

/** A layer of one file, in the store itself: what works depends on the file system that it lies on. */
class ProbePlace implements Disposable {
  readonly #ingest: Ingest;
  #layer: IndexedLayer | undefined;

  constructor(store: Store) {
    this.#ingest = Ingest.create(store, 'probe');
  }

  get directory(): string {
    return this.#ingest.directory;
  }

  get layer(): IndexedLayer {
    this.#layer ??= writeProbeLayer(this.directory);
    return this.#layer;
  }

  [Symbol.dispose](): void {
    this.#ingest[Symbol.dispose]();
  }
}

/** Not a shortage that may be over with the next command. */
function isLasting(probe: Probe): boolean {
  const reasons = [...Object.values(probe.results), probe.passingReason ?? ''];
  return !reasons.some((reason) => /^(EMFILE|ENFILE|ENOMEM|EAGAIN|EINTR|EBUSY|ENOSPC|EIO) /.test(reason));
}

function tryBackend(backend: Backend, place: ProbePlace): string {
  if (backend === 'unpacked') return tryUnpacked(place.directory);
  const { layer } = place;
  let fd: number | undefined;
  try {
    fd = mountIndex(layer, backend);
    const content = readFileSync(`/proc/thread-self/fd/${fd}/${PROBE_NAME}`, 'latin1');
    return content === PROBE_CONTENT ? 'ok' : 'wrong bytes';
  } catch (error) {
    return reasonOf(error);
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}

/** Root of a user namespace may be forbidden what overlayfs' marks are made of. */
function tryUnpacked(directory: string): string {
  const path = join(directory, 'unpacked');
  try {
    mkdirSync(path);
    setXattr(path, OVERLAY_OPAQUE, YES);
    mknod(join(path, 'whiteout'), S_IFCHR, 0, 0);
    return 'ok';
  } catch (error) {
    return reasonOf(error);
  }
}

/** Tries each way with a detached tmpfs over a directory of the store, in a namespace that ends with the trial. */
function tryPassing(directory: string): Pick<Probe, 'passing' | 'passingReason'> {
  let reason: string | undefined;
  for (const passing of LOWER_PASSING) {
    try {
      withNewNamespace(() => {
        mount('none', '/', 'none', MS.REC | MS.PRIVATE);
        tryOneWay(directory, passing);
      });
      return { passing, passingReason: undefined };
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  return { passing: undefined, passingReason: reason };
}

function tryOneWay(directory: string, passing: LowerPassing): void {
  const plain = openSync(directory, 'r');
  const lowers: Lower[] = [
    { fd: createMount('tmpfs', [['size', '64k']]), detached: true },
    { fd: plain, detached: false },
  ];
  try {
    const place = join(directory, 'place');
    mkdirSync(place, { recursive: true });
    const fd = createOverlay(lowers, OVERLAY_OPTIONS, MOUNT_ATTR.RDONLY, place, passing);
    try {
      statSync(`/proc/thread-self/fd/${fd}/place`);
    } finally {
      closeFd(fd);
    }
  } finally {
    for (const { fd } of lowers) closeSync(fd);
  }
}

/** An errno's name with the call that met it. */
function reasonOf(error: unknown): string {
  if (error instanceof SystemError) return `${error.code} from ${error.call}`;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code !== undefined && syscall !== undefined) return `${code} from ${syscall}`;
  return error instanceof Error ? error.message : String(error);
}
