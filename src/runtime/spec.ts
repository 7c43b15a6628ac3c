import { defaultMounts } from './default-mounts.ts';
import { defaultSeccomp } from './seccomp.ts';
import type { Spec, SpecMount, SpecProcess, SpecResources } from './spec-types.ts';
import type { ResolvedUser } from './user.ts';

export type NetworkMode = 'none' | 'host';

export interface ProcessOptions {
  args: string[];
  env: string[];
  cwd: string;
  user: ResolvedUser;
  terminal: boolean;
  /** Names with CAP_. */
  capabilities: string[];
  /** This process's own, which a container cannot have less of without CAP_SYS_RESOURCE. */
  oomScoreAdj: number;
  /** This process's own hard limit of open files. */
  openFilesLimit: number;
}

export interface SpecOptions {
  process: ProcessOptions;
  /** Host path of the mounted root file system. */
  rootfs: string;
  readonlyRootfs?: boolean;
  hostname: string;
  network: NetworkMode;
  /** On top of Docker's own ones, in this order. */
  mounts?: SpecMount[];
  /** Below each cgroup hierarchy. */
  cgroupsPath: string;
  resources?: ResourceOptions;
  annotations?: Record<string, string>;
}

export interface ResourceOptions {
  /** Bytes. */
  memory?: number;
  /** Memory and swap together, bytes; only where the kernel counts swap. */
  memorySwap?: number;
  /** -1 is no limit. */
  pidsLimit?: number;
  /** Processors, fractions allowed. */
  cpus?: number;
}

const CPU_PERIOD_US = 100_000;
/** What Docker's containers get by default since 25.0. */
const OPEN_FILES = { soft: 1024, hard: 524_288 };

/** Docker's defaults (moby, oci/defaults.go). */
const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** An OCI runtime configuration with Docker's defaults for everything that the options do not say. */
export function generateSpec(options: SpecOptions): Spec {
  const namespaces = ['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type }));
  if (options.network === 'none') namespaces.push({ type: 'network' });
  const spec: Spec = {
    ociVersion: '1.0.2',
    process: generateProcess(options.process),
    root: { path: options.rootfs, readonly: options.readonlyRootfs === true },
    hostname: options.hostname,
    mounts: [...withoutOverridden(defaultMounts(), options.mounts ?? []), ...(options.mounts ?? [])],
    linux: {
      namespaces,
      cgroupsPath: options.cgroupsPath,
      resources: generateResources(options.resources ?? {}),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      seccomp: defaultSeccomp(options.process.capabilities),
    },
  };
  if (options.network === 'none') {
    spec.linux.sysctl = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' };
  }
  if (options.annotations !== undefined) spec.annotations = options.annotations;
  return spec;
}

/** The part that `exec` gives on its own. */
export function generateProcess(options: ProcessOptions): SpecProcess {
  const { uid, gid, additionalGids } = options.user;
  const hard = Math.min(OPEN_FILES.hard, options.openFilesLimit);
  const process: SpecProcess = {
    terminal: options.terminal,
    user: { uid, gid },
    args: options.args,
    env: options.env,
    cwd: options.cwd,
    capabilities: {
      bounding: options.capabilities,
      effective: options.capabilities,
      permitted: options.capabilities,
      inheritable: [],
      ambient: [],
    },
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: Math.min(OPEN_FILES.soft, hard), hard }],
    noNewPrivileges: false,
    oomScoreAdj: options.oomScoreAdj,
  };
  if (additionalGids.length > 0) process.user.additionalGids = additionalGids;
  return process;
}

function generateResources(options: ResourceOptions): SpecResources {
  const out: SpecResources = { devices: [{ allow: false, access: 'rwm' }] };
  if (options.memory !== undefined) out.memory = { limit: options.memory };
  if (out.memory !== undefined && options.memorySwap !== undefined) out.memory.swap = options.memorySwap;
  if (options.cpus !== undefined) out.cpu = { quota: Math.round(options.cpus * CPU_PERIOD_US), period: CPU_PERIOD_US };
  if (options.pidsLimit !== undefined) out.pids = { limit: options.pidsLimit };
  return out;
}

function withoutOverridden(defaults: SpecMount[], own: SpecMount[]): SpecMount[] {
  return defaults.filter((mount) => !own.some((other) => other.destination === mount.destination));
}
