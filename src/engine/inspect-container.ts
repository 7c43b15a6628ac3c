import type { MountRequest } from '../container/mount-request.ts';
import { type ContainerRecord, containerPaths, findContainer } from '../container/record.ts';
import { type ContainerState, containerState } from '../container/state.ts';
import { volumeData } from '../container/volumes.ts';
import type { Store } from '../store/store.ts';

/** What Go writes for no time. */
const NO_TIME = '0001-01-01T00:00:00Z';

/** A container as `docker inspect` shows it (Engine API v1.47), with the members that mean something here. */
export interface ContainerInspection {
  Id: string;
  Created: string;
  Path: string;
  Args: string[];
  State: {
    Status: string;
    Running: boolean;
    Paused: boolean;
    Restarting: boolean;
    OOMKilled: boolean;
    Dead: boolean;
    Pid: number;
    ExitCode: number;
    Error: string;
    StartedAt: string;
    FinishedAt: string;
  };
  /** The image's ID. */
  Image: string;
  ResolvConfPath: string;
  HostnamePath: string;
  HostsPath: string;
  LogPath: string;
  Name: string;
  RestartCount: number;
  Driver: string;
  Platform: string;
  HostConfig: Record<string, unknown>;
  GraphDriver: { Data: Record<string, string>; Name: string };
  Mounts: Record<string, unknown>[];
  Config: Record<string, unknown>;
  NetworkSettings: { Networks: Record<string, unknown>; Ports: Record<string, unknown>; IPAddress: string };
}

/** Throws `NO_SUCH_CONTAINER`, `AMBIGUOUS_ID`. */
export function inspectContainer(store: Store, name: string): ContainerInspection {
  return describeContainer(store, findContainer(store, name));
}

function describeContainer(store: Store, record: ContainerRecord): ContainerInspection {
  const paths = containerPaths(store, record);
  return {
    Id: record.id,
    Created: record.created,
    Path: record.process.args[0] ?? '',
    Args: record.process.args.slice(1),
    State: describeState(containerState(store, record)),
    Image: record.image.id,
    ResolvConfPath: `${paths.bundle}/resolv.conf`,
    HostnamePath: `${paths.bundle}/hostname`,
    HostsPath: `${paths.bundle}/hosts`,
    LogPath: record.holder === 'conmon' ? paths.log : '',
    Name: `/${record.name}`,
    RestartCount: 0,
    Driver: 'imago',
    Platform: 'linux',
    HostConfig: describeHostConfig(record),
    GraphDriver: { Data: { UpperDir: paths.upper, WorkDir: paths.work }, Name: 'imago' },
    Mounts: record.mounts.map((mount) => describeMount(store, mount)),
    Config: describeConfig(record),
    NetworkSettings: { Networks: { [record.network]: {} }, Ports: {}, IPAddress: '' },
  };
}

function describeState(state: ContainerState): ContainerInspection['State'] {
  const running = state.status === 'running';
  return {
    Status: state.status,
    Running: running,
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: state.pid ?? 0,
    ExitCode: state.exitCode ?? 0,
    Error: '',
    StartedAt: timeText(state.startedAt),
    FinishedAt: running ? NO_TIME : timeText(state.finishedAt),
  };
}

function timeText(milliseconds: number | undefined): string {
  return milliseconds === undefined ? NO_TIME : new Date(milliseconds).toISOString();
}

function describeHostConfig({
  network,
  autoRemove,
  readonlyRootfs,
  resources,
  mounts,
}: ContainerRecord): Record<string, unknown> {
  return {
    Binds: mounts.flatMap((mount) =>
      mount.type === 'tmpfs' || (mount.type === 'volume' && mount.anonymous) ? [] : [bindText(mount)],
    ),
    Tmpfs: Object.fromEntries(
      mounts.flatMap((mount) => (mount.type === 'tmpfs' ? [[mount.destination, mount.options.join(',')]] : [])),
    ),
    NetworkMode: network,
    AutoRemove: autoRemove,
    ReadonlyRootfs: readonlyRootfs,
    Privileged: false,
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    PortBindings: {},
    Memory: resources.memory ?? 0,
    MemorySwap: resources.memorySwap ?? 0,
    NanoCpus: Math.round((resources.cpus ?? 0) * 1e9),
    PidsLimit: resources.pidsLimit ?? null,
  };
}

function bindText(mount: Exclude<MountRequest, { type: 'tmpfs' }>): string {
  const source = mount.type === 'bind' ? mount.source : mount.name;
  const options = mount.options.length === 0 ? '' : `:${mount.options.join(',')}`;
  return `${source}:${mount.destination}${options}`;
}

function describeMount(store: Store, mount: MountRequest): Record<string, unknown> {
  const volume = mount.type === 'volume' ? { Name: mount.name, Driver: 'local' } : {};
  const source = mount.type === 'bind' ? mount.source : mount.type === 'volume' ? volumeData(store, mount.name!) : '';
  return {
    Type: mount.type,
    ...volume,
    Source: source,
    Destination: mount.destination,
    Mode: mount.options.join(','),
    RW: !mount.options.includes('ro'),
    Propagation:
      mount.type === 'bind' ? (mount.options.find((o) => /^r?(shared|slave|private)$/.test(o)) ?? 'rprivate') : '',
  };
}

function describeConfig({
  id,
  hostname,
  process,
  config,
  image,
  stopSignal,
  stopTimeout,
}: ContainerRecord): Record<string, unknown> {
  return {
    ...config,
    Hostname: hostname ?? id.slice(0, 12),
    User: process.user,
    Tty: process.terminal,
    OpenStdin: process.stdin,
    StdinOnce: process.stdinOnce,
    Env: process.env,
    Cmd: config.Cmd ?? null,
    Entrypoint: config.Entrypoint ?? null,
    Image: image.reference,
    Volumes: config.Volumes ?? null,
    WorkingDir: process.cwd,
    Labels: config.Labels ?? {},
    StopSignal: stopSignal,
    StopTimeout: stopTimeout,
  };
}
