import { defaultMounts } from './default-mounts.ts';
import { defaultSeccomp } from './seccomp.ts';
import type { RawNumber, Rlimit, Spec, SpecMount, SpecProcess, SpecResources } from './spec-types.ts';
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
  /** They come before Docker's default. */
  ulimits?: readonly Ulimit[];
}

/** `name` as in setrlimit(2), without RLIMIT_, in lower case; -1 is no limit. */
export interface Ulimit {
  name: string;
  soft: number;
  hard: number;
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
  /** As `docker run --privileged`: no seccomp, no masked paths, all devices, writable /sys and cgroups. */
  insecure?: boolean;
}

export interface ResourceOptions {
  /** Bytes. */
  memory?: number;
  /** Memory and swap together, bytes, -1 for no limit; only where the kernel counts swap. */
  memorySwap?: number;
  /** -1 is no limit. */
  pidsLimit?: number;
  /** Processors, fractions allowed. */
  cpus?: number;
  /** Weight beside other groups. */
  cpuShares?: number;
  /** Microseconds in each period. */
  cpuQuota?: number;
  /** Microseconds. */
  cpuPeriod?: number;
  /** Numbers and ranges, as '0-3,5'. */
  cpusetCpus?: string;
  cpusetMems?: string;
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
/** BuildKit's, with as many loop devices as a kernel makes by itself. */
const INSECURE_DEVICES: readonly [path: string, type: 'c' | 'b', major: number, minor: number][] = [
  ['/dev/kmsg', 'c', 1, 11],
  ['/dev/cuse', 'c', 10, 203],
  ['/dev/fuse', 'c', 10, 229],
  ['/dev/kvm', 'c', 10, 232],
  ['/dev/net/tun', 'c', 10, 200],
  ['/dev/loop-control', 'c', 10, 237],
  ...Array.from({ length: 8 }, (_, i): [string, 'b', number, number] => [`/dev/loop${i}`, 'b', 7, i]),
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
  if (options.insecure === true) liftRestrictions(spec);
  return spec;
}

/** The part that `exec` gives on its own. */
export function generateProcess(options: ProcessOptions): SpecProcess {
  const { uid, gid, additionalGids } = options.user;
  const hard = Math.min(OPEN_FILES.hard, options.openFilesLimit);
  return {
    terminal: options.terminal,
    // The group itself, too: a program that takes another one must not lose what its own is refused (CVE-2022-36109).
    user: { uid, gid, additionalGids: [...new Set([gid, ...additionalGids])] },
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
    rlimits: generateLimits(options.ulimits ?? [], { soft: Math.min(OPEN_FILES.soft, hard), hard }),
    noNewPrivileges: false,
    oomScoreAdj: options.oomScoreAdj,
  };
}

/** RLIM_INFINITY, which no number of JavaScript is. */
const UNLIMITED = (JSON as unknown as { rawJSON(text: string): RawNumber }).rawJSON('18446744073709551615');

function generateLimits(own: readonly Ulimit[], files: { soft: number; hard: number }): Rlimit[] {
  const out = new Map<string, Omit<Rlimit, 'type'>>([['RLIMIT_NOFILE', files]]);
  const number = (limit: number): number | RawNumber => (limit < 0 ? UNLIMITED : limit);
  for (const { name, soft, hard } of own) {
    out.set(`RLIMIT_${name.toUpperCase()}`, { soft: number(soft), hard: number(hard) });
  }
  return [...out].map(([type, limits]) => ({ type, ...limits }));
}

/** BuildKit's insecure mode (util/entitlements/security). Device nodes that no image has a place for are left out. */
function liftRestrictions(spec: Spec): void {
  const { linux, process } = spec;
  linux.maskedPaths = [];
  linux.readonlyPaths = [];
  delete linux.seccomp;
  linux.resources.devices = ['c', 'b'].map((type) => ({ allow: true, type, access: 'rwm' }));
  linux.devices = INSECURE_DEVICES.map(([path, type, major, minor]) => {
    return { path, type, major, minor, fileMode: 0o600, uid: 0, gid: 0 };
  });
  const all = process.capabilities!.bounding;
  process.capabilities = { bounding: all, effective: all, permitted: all, inheritable: all, ambient: all };
  for (const mount of spec.mounts) {
    if (mount.type !== 'sysfs' && mount.type !== 'cgroup') continue;
    mount.options = mount.options?.map((option) => (option === 'ro' ? 'rw' : option));
  }
}

function generateResources(options: ResourceOptions): SpecResources {
  const out: SpecResources = { devices: [{ allow: false, access: 'rwm' }] };
  const { memory, memorySwap, cpus, cpuShares, cpuQuota, cpuPeriod, cpusetCpus, cpusetMems } = options;
  out.memory = given({ limit: memory, swap: memorySwap });
  const quota = cpus === undefined ? cpuQuota : Math.round(cpus * CPU_PERIOD_US);
  const period = cpus === undefined ? cpuPeriod : CPU_PERIOD_US;
  out.cpu = given({ shares: cpuShares, quota, period, cpus: cpusetCpus, mems: cpusetMems });
  if (options.pidsLimit !== undefined) out.pids = { limit: options.pidsLimit };
  return out;
}

/** What has a value; undefined where nothing has. */
function given<T extends object>(limits: T): T | undefined {
  const entries = Object.entries(limits).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as T);
}

function withoutOverridden(defaults: SpecMount[], own: SpecMount[]): SpecMount[] {
  return defaults.filter((mount) => !own.some((other) => other.destination === mount.destination));
}
