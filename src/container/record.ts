import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import type { RunConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { NetworkMode, ResourceOptions } from '../runtime/spec.ts';
import type { Store } from '../store/store.ts';
import { replaceFile } from '../system/atomic.ts';
import type { ProcessIdentity } from '../system/process.ts';
import type { MountRequest } from './mount-request.ts';

const RECORD_VERSION = 1;

/** ROOT/containers/<id>/container.json: what a container was made of. Written once; what it does is in its state. */
export interface ContainerRecord {
  version: typeof RECORD_VERSION;
  /** 64 hex characters. */
  id: string;
  name: string;
  /** RFC 3339. */
  created: string;
  image: ContainerImage;
  /** The image's, with what was given in its place: what a commit starts from. */
  config: RunConfig;
  process: ContainerProcess;
  /** As given; undefined is the default. */
  hostname?: string;
  network: NetworkMode;
  readonlyRootfs: boolean;
  resources: ResourceOptions;
  mounts: MountRequest[];
  stopSignal: string;
  /** Seconds between the stop signal and SIGKILL. */
  stopTimeout: number;
  autoRemove: boolean;
  /** Who waits for the container's process: the runtime itself (its client runs in the foreground), or conmon. */
  holder: 'runtime' | 'conmon';
  /** With the runtime as holder: its process. */
  launcher?: ProcessIdentity & { boot: string };
}

export interface ContainerImage {
  /** As the user wrote it. */
  reference: string;
  id: Digest;
  /** Its manifest, which keeps it from being pruned. */
  descriptor: Descriptor;
  /** The lowest first. */
  diffIds: Digest[];
}

export interface ContainerProcess {
  args: string[];
  /** The image's and the given variables, without HOME. */
  env: string[];
  cwd: string;
  /** As given; looked up when the container starts. */
  user: string;
  terminal: boolean;
  /** It has an input, for whoever attaches. */
  stdin: boolean;
  /** The input ends with the first client that leaves. */
  stdinOnce: boolean;
  capabilities: string[];
}

/** Where a container's files are. */
export interface ContainerPaths {
  directory: string;
  record: string;
  upper: string;
  work: string;
  log: string;
  /** What it did last: see `ContainerState`. */
  lastStart: string;
  /** Holds a file named by the ID with the exit status. */
  exitDirectory: string;
  /** RUN/containers/<id>: the OCI bundle, conmon's socket. */
  bundle: string;
  rootfs: string;
}

export function containersDirectory(store: Store): string {
  return join(store.root, 'containers');
}

/** The runtime's own records of running containers. */
export function stateRoot(store: Store): string {
  return join(store.run, 'runtime');
}

export function containerPaths(store: Store, record: Pick<ContainerRecord, 'id' | 'autoRemove'>): ContainerPaths {
  const directory = join(containersDirectory(store), record.id);
  const bundle = join(store.run, 'containers', record.id);
  return {
    directory,
    record: join(directory, 'container.json'),
    upper: join(directory, 'upper'),
    work: join(directory, 'work'),
    log: join(directory, 'log'),
    lastStart: join(directory, 'started.json'),
    // With --rm it must outlive the container's directory, for the client that waits for it.
    exitDirectory: record.autoRemove ? join(store.run, 'exits') : join(directory, 'exit'),
    bundle,
    rootfs: join(bundle, 'rootfs'),
  };
}

/** `durable` costs two fsyncs, which a container that goes with its client need not pay. */
export function writeRecord(store: Store, record: ContainerRecord, durable: boolean): void {
  const paths = containerPaths(store, record);
  mkdirSync(paths.directory, { recursive: true, mode: 0o711 });
  const text = `${JSON.stringify(record)}\n`;
  if (durable) replaceFile(paths.record, text, { mode: 0o600 });
  else writeFileSync(paths.record, text, { mode: 0o600, flag: 'wx' });
}

/** Undefined where there is no such container, or only a part of one. Throws `CONTAINER_DAMAGED`. */
export function readRecord(store: Store, id: string): ContainerRecord | undefined {
  const directory = join(containersDirectory(store), id);
  const path = join(directory, 'container.json');
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as ContainerRecord | null;
    if (record?.version === RECORD_VERSION && record.id === id) return record;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code !== undefined) throw error;
    // Told below, as any other damage.
  }
  throw new ImagoError('CONTAINER_DAMAGED', 'the record of a container is damaged', {
    ref: id,
    path,
    remedy: `what it wrote is in ${directory}/upper; 'imago rm -f ${id.slice(0, 12)}' discards it`,
  });
}

/** The directories under containers/, with or without a record in them. */
export function containerIds(store: Store): string[] {
  return readdirSync(containersDirectory(store)).filter((name) => /^[0-9a-f]{64}$/.test(name));
}

/** Newest first. Damaged ones are left out, and told. */
export function listRecords(store: Store, onDamaged?: (id: string, error: ImagoError) => void): ContainerRecord[] {
  const out: ContainerRecord[] = [];
  for (const id of containerIds(store)) {
    try {
      const record = readRecord(store, id);
      if (record !== undefined) out.push(record);
    } catch (error) {
      if (!isImagoError(error, 'CONTAINER_DAMAGED')) throw error;
      onDamaged?.(id, error);
    }
  }
  return out.sort((a, b) => (a.created < b.created ? 1 : a.created > b.created ? -1 : 0));
}

/** containers/.names/<name> holds the ID of the container that has the name. */
export function namePath(store: Store, name: string): string {
  return join(containersDirectory(store), '.names', name);
}

/** The ID of the container that has the name. */
export function nameOwner(store: Store, name: string): string | undefined {
  try {
    return readFileSync(namePath(store, name), 'latin1').trim();
  } catch {
    return undefined;
  }
}

/**
 * By name, ID, or the start of an ID; a name comes first, as in Docker.
 * Throws `NO_SUCH_CONTAINER`, `AMBIGUOUS_ID`, `CONTAINER_DAMAGED`.
 */
export function findContainer(store: Store, text: string): ContainerRecord {
  const wanted = text.replace(/^\//, '');
  if (/^[0-9a-f]{64}$/.test(wanted)) {
    const exact = readRecord(store, wanted);
    if (exact !== undefined) return exact;
  }
  const damaged = new Map<string, ImagoError>();
  const records = listRecords(store, (id, error) => damaged.set(id, error));
  const named = records.find((record) => record.name === wanted);
  if (named !== undefined) return named;
  if (damaged.size > 0) refuseDamaged(damaged, wanted, wanted.includes('/') ? undefined : nameOwner(store, wanted));
  const matches = /^[0-9a-f]+$/.test(wanted) ? records.filter((record) => record.id.startsWith(wanted)) : [];
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) {
    throw new ImagoError('AMBIGUOUS_ID', `more than one container ID starts with '${text}'`, {
      got: matches.map((record) => record.id.slice(0, Math.max(12, text.length + 2))).join(', '),
      remedy: 'give more of its characters',
    });
  }
  throw new ImagoError('NO_SUCH_CONTAINER', `No such container: ${text}`, {
    remedy: "'imago ps -a' lists those there are",
  });
}

function refuseDamaged(damaged: ReadonlyMap<string, ImagoError>, wanted: string, owner: string | undefined): void {
  for (const [id, error] of damaged) {
    if (id === owner || (/^[0-9a-f]+$/.test(wanted) && id.startsWith(wanted))) throw error;
  }
}
