import { mkdirSync, rmSync } from 'node:fs';
import { resolveName } from '../image/resolve.ts';
import type { RunConfig } from '../oci/config.ts';
import type { Platform } from '../oci/platform.ts';
import { selectCapabilities } from '../runtime/capabilities.ts';
import { commandLine, environment, mergeVariables } from '../runtime/command.ts';
import { containerHostname } from '../runtime/network-files.ts';
import type { NetworkMode, ResourceOptions } from '../runtime/spec.ts';
import { needRoot } from '../snapshot/privilege.ts';
import { explainWrites } from '../store/errors.ts';
import type { Store } from '../store/store.ts';
import { bootId } from '../system/boot.ts';
import { identifyProcess } from '../system/process.ts';
import { randomHex } from '../system/random.ts';
import { type MountRequest, mergeMounts } from './mount-request.ts';
import { checkName, releaseNameOf, reserveName, reserveRandomName } from './names.ts';
import { type ContainerProcess, type ContainerRecord, containerPaths, writeRecord } from './record.ts';
import { parseSignal } from './signals.ts';
import { nameVolumes } from './volumes.ts';

/** What `create` and `run` take, as a user says it. */
export interface CreateOptions {
  image: string;
  /** Of several, the image for this one; an image for another one is refused (default: what there is). */
  platform?: Platform;
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
const DEFAULT_NETWORK: NetworkMode = 'none';
const DEFAULT_STOP_SIGNAL = 'SIGTERM';
const DEFAULT_STOP_TIMEOUT_S = 10;

/**
 * Makes the record of a container, and from then on its image is kept and its name taken. Nothing is mounted or run.
 * Throws `IMAGE_NOT_FOUND`, `PLATFORM_MISMATCH`, `NAME_IN_USE`, `NO_COMMAND` and what else the options can have wrong.
 */
export function createContainer(
  store: Store,
  options: CreateOptions,
  holder: ContainerRecord['holder'],
): ContainerRecord {
  needRoot('make a container');
  if (options.name !== undefined) checkName(options.name);
  return explainWrites(store.root, () => createChecked(store, options, holder));
}

function createChecked(store: Store, options: CreateOptions, holder: ContainerRecord['holder']): ContainerRecord {
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
  const { image } = resolveName(store, options.image, options.platform);
  const config = composeConfig(image.config.config ?? {}, options);
  const network = options.network ?? DEFAULT_NETWORK;
  const record: ContainerRecord = {
    version: 1,
    id,
    name: options.name ?? '',
    created: new Date().toISOString(),
    image: { reference: options.image, id: image.id, descriptor: image.descriptor, diffIds: image.diffIds },
    config,
    process: composeProcess(config, options, containerHostname(id, network, options.hostname)),
    network,
    readonlyRootfs: options.readonlyRootfs === true,
    resources: options.resources ?? {},
    mounts: nameVolumes(mergeMounts(options.mounts ?? [], Object.keys(config.Volumes ?? {}))),
    stopSignal: config.StopSignal || DEFAULT_STOP_SIGNAL,
    stopTimeout: config.StopTimeout ?? DEFAULT_STOP_TIMEOUT_S,
    autoRemove: options.autoRemove === true,
    holder,
  };
  parseSignal(record.stopSignal);
  if (options.hostname !== undefined) record.hostname = options.hostname;
  if (holder === 'runtime') record.launcher = { ...identifyProcess(process.pid)!, boot: bootId() };
  return record;
}

/** Docker's: a given entrypoint drops the image's command. */
function composeConfig(image: RunConfig, options: CreateOptions): RunConfig {
  const { entrypoint, args = [] } = options;
  const config: RunConfig = { ...image, Env: mergeVariables(image.Env ?? [], options.env ?? []) };
  if (entrypoint !== undefined) {
    config.Entrypoint = entrypoint === '' ? null : [entrypoint];
    config.Cmd = null;
  }
  if (args.length > 0) config.Cmd = [...args];
  if (options.user !== undefined) config.User = options.user;
  if (options.workdir !== undefined) config.WorkingDir = options.workdir;
  if (options.stopSignal !== undefined) config.StopSignal = options.stopSignal;
  if (options.stopTimeout !== undefined) config.StopTimeout = options.stopTimeout;
  if (Object.keys(options.labels ?? {}).length > 0) config.Labels = { ...image.Labels, ...options.labels };
  return config;
}

function composeProcess(config: RunConfig, options: CreateOptions, hostname: string): ContainerProcess {
  const terminal = options.terminal === true;
  const stdin = options.stdin === true;
  return {
    args: commandLine(config),
    env: environment(config.Env ?? [], { hostname, terminal }),
    cwd: config.WorkingDir || '/',
    user: config.User ?? '',
    terminal,
    stdin,
    stdinOnce: stdin && !terminal && options.detached !== true,
    capabilities: selectCapabilities({ add: options.capAdd ?? [], drop: options.capDrop ?? [] }),
  };
}
