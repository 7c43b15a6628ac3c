import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { grantableCapabilities } from '../runtime/capabilities.ts';
import { containerHostname, writeNetworkFiles } from '../runtime/network-files.ts';
import {
  generateSpec,
  type NetworkMode,
  type ProcessOptions,
  type ResourceOptions,
  type Ulimit,
} from '../runtime/spec.ts';
import type { SpecMount } from '../runtime/spec-types.ts';
import { type ResolvedUser, resolveUser } from '../runtime/user.ts';
import { readConfined } from '../system/confined.ts';

/** Limit of what is read of a hostile image's /etc/passwd and /etc/group. */
const DATABASE_LIMIT = 4 << 20;

export interface ProcessRequest {
  args: string[];
  env: string[];
  cwd: string;
  user: string;
  terminal: boolean;
  capabilities: string[];
  ulimits?: readonly Ulimit[] | undefined;
}

export interface BundleOptions {
  id: string;
  bundle: string;
  rootfs: string;
  /** The root file system, opened as a directory. */
  root: number;
  process: ProcessRequest;
  hostname?: string;
  network: NetworkMode;
  readonlyRootfs?: boolean;
  resources?: ResourceOptions;
  mounts: SpecMount[];
  /** `NAME:ADDRESS`, for /etc/hosts. */
  extraHosts?: readonly string[] | undefined;
  /** A cgroup's path instead of Imago's own. */
  cgroupParent?: string | undefined;
  /** All rights: system calls, devices, cgroups, masked paths. */
  insecure?: boolean;
}

/** Writes config.json and the network's files. Throws `UNKNOWN_USER`, `UNKNOWN_GROUP`. */
export function writeBundle(options: BundleOptions): void {
  const { id, bundle, network, root } = options;
  const hostname = containerHostname(id, network, options.hostname);
  const files = writeNetworkFiles(bundle, network, hostname, options.extraHosts).filter(
    (file) => !options.mounts.some((mount) => mount.destination === file.destination),
  );
  const spec = generateSpec({
    process: resolveProcess(options.process, root),
    rootfs: options.rootfs,
    readonlyRootfs: options.readonlyRootfs === true,
    hostname,
    network,
    mounts: [...files, ...options.mounts],
    cgroupsPath: join('/', options.cgroupParent ?? 'imago', id),
    insecure: options.insecure === true,
    resources: options.resources ?? {},
  });
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
}

/** Looks the user up in the root file system open as `root`, and adds what this process may pass on. */
export function resolveProcess(request: ProcessRequest, root: number): ProcessOptions {
  const user = findUser(request.user, root);
  const hasHome = request.env.some((entry) => entry.startsWith('HOME=') && entry.length > 5);
  const env = hasHome ? request.env : [...request.env.filter((e) => !e.startsWith('HOME=')), `HOME=${user.home}`];
  return {
    args: request.args,
    env,
    cwd: request.cwd || '/',
    user,
    terminal: request.terminal,
    capabilities: grantableCapabilities(request.capabilities, readFileSync('/proc/self/status', 'latin1')),
    oomScoreAdj: Math.max(0, Number(readFileSync('/proc/self/oom_score_adj', 'latin1'))),
    openFilesLimit: ownOpenFilesLimit(),
    ulimits: request.ulimits ?? [],
  };
}

function findUser(text: string, root: number): ResolvedUser {
  return resolveUser(text, {
    passwd: readConfined(root, '/etc/passwd', DATABASE_LIMIT),
    group: readConfined(root, '/etc/group', DATABASE_LIMIT),
  });
}

function ownOpenFilesLimit(): number {
  const line = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
  return line?.[1] === 'unlimited' ? 2 ** 31 - 1 : Number(line?.[1] ?? 4096);
}
