import { readFileSync } from 'node:fs';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { listRecords } from '../container/record.ts';
import { containerState } from '../container/state.ts';
import { ImagoError } from '../core/errors.ts';
import { listImages } from '../image/list.ts';
import { findMonitor } from '../runtime/conmon.ts';
import { findRuntime } from '../runtime/find-runtime.ts';
import { chooseBackend } from '../snapshot/probe.ts';
import type { Store } from '../store/store.ts';
import { readVersions, type Versions } from './versions.ts';

/** A program of others that Imago uses: its path and what it says its version is, or why there is none. */
export type FoundProgram = { Path: string; Version: string } | { Problem: string };

/** Fields as in `docker info --format`, where Docker has them. */
export interface SystemInfo extends Versions {
  Containers: number;
  ContainersRunning: number;
  ContainersStopped: number;
  /** Names of one image count once. */
  Images: number;
  /** How layers become mountable, and for each way that was tried what came of it. */
  Driver: string;
  DriverStatus: [backend: string, result: string][];
  Root: string;
  Run: string;
  Runtime: FoundProgram;
  Monitor: FoundProgram;
  OperatingSystem: string;
  CgroupVersion: string;
  NCPU: number;
  /** Bytes. */
  MemTotal: number;
  Name: string;
}

/** What is here and what works, by trying it. What does not work is told in its field, not thrown. */
export async function readInfo(store: Store): Promise<SystemInfo> {
  const states = listRecords(store).map((record) => containerState(store, record).status);
  const running = states.filter((status) => status === 'running').length;
  const [runtime, monitor] = await Promise.all([
    describeProgram(async () => (await findRuntime(store.run)).path),
    describeProgram(async () => findMonitor()),
  ]);
  return {
    ...readVersions(),
    Containers: states.length,
    ContainersRunning: running,
    ContainersStopped: states.length - running,
    Images: listImages(store, { allPlatforms: true, onDamaged: () => {} }).length,
    ...describeBackend(store),
    Root: store.root,
    Run: store.run,
    Runtime: runtime,
    Monitor: monitor,
    OperatingSystem: distribution(),
    CgroupVersion: cgroupVersion(),
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
    Name: hostname(),
  };
}

function describeBackend(store: Store): Pick<SystemInfo, 'Driver' | 'DriverStatus'> {
  try {
    const { backend, probe } = chooseBackend(store, process.env.IMAGO_BACKEND);
    return { Driver: backend, DriverStatus: Object.entries(probe.results) };
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    return { Driver: 'none', DriverStatus: [['problem', error.message]] };
  }
}

async function describeProgram(find: () => Promise<string>): Promise<FoundProgram> {
  try {
    const path = await find();
    return { Path: path, Version: await askVersion(path) };
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    return { Problem: error.message };
  }
}

/** The first line of `PROGRAM --version`. */
async function askVersion(path: string): Promise<string> {
  const { execFile } = await import('node:child_process');
  return await new Promise((resolve) => {
    execFile(path, ['--version'], { timeout: 5000 }, (_error, stdout) => resolve(stdout.split('\n')[0]!.trim()));
  });
}

/** os-release(5). */
function distribution(): string {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    try {
      const name = /^PRETTY_NAME=(.*)$/m.exec(readFileSync(path, 'utf8'))?.[1];
      if (name !== undefined) return name.replace(/^(["'])(.*)\1$/, '$2');
    } catch {
      // The next place has it, or nobody knows.
    }
  }
  return 'Linux';
}

function cgroupVersion(): string {
  try {
    return / - cgroup2 /.test(readFileSync('/proc/self/mountinfo', 'latin1')) ? '2' : '1';
  } catch {
    return 'unknown';
  }
}
