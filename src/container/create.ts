import { mkdirSync, rmSync } from 'node:fs';
import { resolveName } from '../image/resolve.ts';
import { selectCapabilities } from '../runtime/capabilities.ts';
import { commandLine, environment } from '../runtime/command.ts';
import { containerHostname } from '../runtime/network-files.ts';
import type { NetworkMode, ResourceOptions } from '../runtime/spec.ts';
import type { Store } from '../store/store.ts';
import { bootId } from '../system/boot.ts';
import { identifyProcess } from '../system/process.ts';
import { randomHex } from '../system/random.ts';
import { type MountRequest, mergeMounts } from './mount-request.ts';
import { checkName, releaseNameOf, reserveName, reserveRandomName } from './names.ts';
import { type ContainerRecord, containerPaths, writeRecord } from './record.ts';
import { parseSignal } from './signals.ts';
import { nameVolumes } from './volumes.ts';

/** What `create` and `run` take, as a user says it. */
export interface CreateOptions {
  image: string;
  /** Replaces the image's command. */
  args?: readonly string[];
  /** '' removes the image's. */
  entrypoint?: string;
  name?: string;
  /** NAME=value, or NAME for the caller's own. */
  env?: readonly string[];
  user?: string;
  workdir?: string;
  hostname?: string;
  network?: NetworkMode;
  mounts?: readonly MountRequest[];
  labels?: Record<string, string>;
  stopSignal?: string;
  stopTimeout?: number;
  terminal?: boolean;
  stdin?: boolean;
  /** Nobody attaches at the start. */
  detached?: boolean;
  readonlyRootfs?: boolean;
  autoRemove?: boolean;
  capAdd?: readonly string[];
  capDrop?: readonly string[];
  resources?: ResourceOptions;
}

/** Until there are bridge networks, a container has none unless it asks for the host's. */
export const DEFAULT_NETWORK: NetworkMode = 'none';
const DEFAULT_STOP_SIGNAL = 'SIGTERM';
const DEFAULT_STOP_TIMEOUT_S = 10;

/**
 * Makes the record of a container, and from then on its image is kept and its name taken. Nothing is mounted or run.
 * Throws `IMAGE_NOT_FOUND`, `NAME_IN_USE`, `NO_COMMAND` and what else the options can have wrong.
 */
export function createContainer(
  store: Store,
  options: CreateOptions,
  holder: ContainerRecord['holder'],
): ContainerRecord {
  if (options.name !== undefined) checkName(options.name);
  const id = randomHex(32);
  // From resolving the image to the record that keeps it, prune stays out.
  using _lock = store.lock('shared');
  const record = composeRecord(store, options, holder, id);
  if (options.name !== undefined) reserveName(store, options.name, id);
  else record.name = reserveRandomName(store, id);
  const paths = containerPaths(store, record);
  try {
    writeRecord(store, record, !(record.autoRemove && holder === 'runtime'));
    mkdirSync(paths.bundle, { recursive: true, mode: 0o700 });
  } catch (error) {
    rmSync(paths.directory, { recursive: true, force: true });
    releaseNameOf(store, record);
    throw error;
  }
  return record;
}

function composeRecord(
  store: Store,
  options: CreateOptions,
  holder: ContainerRecord['holder'],
  id: string,
): ContainerRecord {
  const { image } = resolveName(store, options.image);
  const run = image.config.config ?? {};
  const network = options.network ?? DEFAULT_NETWORK;
  const terminal = options.terminal === true;
  const hostname = containerHostname(id, network, options.hostname);
  const capabilities = selectCapabilities({ add: options.capAdd ?? [], drop: options.capDrop ?? [] });
  const record: ContainerRecord = {
    version: 1,
    id,
    name: options.name ?? '',
    created: new Date().toISOString(),
    image: { reference: options.image, id: image.id, manifest: image.target.digest, diffIds: image.diffIds },
    process: {
      args: commandLine(run, options.args ?? [], options.entrypoint),
      env: environment(run.Env ?? [], options.env ?? [], { hostname, terminal }),
      cwd: options.workdir || run.WorkingDir || '/',
      user: options.user ?? run.User ?? '',
      terminal,
      stdin: options.stdin === true,
      stdinOnce: options.stdin === true && !terminal && options.detached !== true,
      capabilities,
    },
    network,
    readonlyRootfs: options.readonlyRootfs === true,
    resources: options.resources ?? {},
    mounts: nameVolumes(mergeMounts(options.mounts ?? [], Object.keys(run.Volumes ?? {}))),
    labels: { ...run.Labels, ...options.labels },
    stopSignal: options.stopSignal ?? run.StopSignal ?? DEFAULT_STOP_SIGNAL,
    stopTimeout: options.stopTimeout ?? run.StopTimeout ?? DEFAULT_STOP_TIMEOUT_S,
    autoRemove: options.autoRemove === true,
    holder,
  };
  parseSignal(record.stopSignal);
  if (options.hostname !== undefined) record.hostname = options.hostname;
  if (holder === 'runtime') record.launcher = { ...identifyProcess(process.pid)!, boot: bootId() };
  return record;
}
