/** The engines that the bench compares: Imago (one a backend) and whichever peers are installed. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchInput } from './input.ts';
import { run, type Sample } from './measure.ts';

export interface Engine {
  name: string;
  /** Of Imago: its store. */
  root?: string;
  load(input: BenchInput): Promise<Sample>;
  /** From a registry on loopback, without TLS. */
  pull(reference: string): Promise<Sample>;
  /** Removes every image. */
  removeAll(): Promise<unknown>;
  rmi(reference: string): Promise<Sample>;
  run(options: string[], image: string, command: string[]): Promise<Sample>;
  /** Undefined where the engine does not build. Tags the result `built:latest`. */
  build?(context: string, cached: boolean): Promise<Sample>;
  stop?(): Promise<void>;
}

/** Imago as npm installs it: without sources, so that the command does not look whether its build is stale. */
export function installCopy(work: string): string {
  const home = join(import.meta.dirname, '..');
  const copy = join(work, 'installed');
  execFileSync(process.execPath, [join(home, 'scripts/build.ts'), '--if-stale'], { stdio: 'inherit' });
  mkdirSync(copy, { recursive: true });
  for (const name of ['bin', 'dist', 'package.json']) cpSync(join(home, name), join(copy, name), { recursive: true });
  symlinkSync(join(home, 'node_modules'), join(copy, 'node_modules'));
  return join(copy, 'bin', 'imago');
}

export function imago(work: string, bin: string, backend: string): Engine & { root: string } {
  const root = join(work, `imago-${backend}`);
  const env = { ...process.env, IMAGO_ROOT: root, IMAGO_RUN: `${root}-run`, IMAGO_BACKEND: backend };
  const call = (...args: string[]): Promise<Sample> => run([bin, ...args], { env, cwd: work });
  return {
    name: backend === 'erofs' ? 'imago' : `imago (${backend})`,
    root,
    load: (input) => call('load', '-q', '-i', input.layout),
    pull: (reference) => call('pull', '-q', reference),
    removeAll: async () => {
      const images = (await call('images', '-q')).stdout.split('\n').filter((id) => id !== '');
      if (images.length > 0) await call('rmi', '-f', ...new Set(images));
      await call('prune', '-af');
    },
    rmi: (reference) => call('rmi', reference),
    run: (options, image, command) => call('run', '--rm', '--network', 'none', ...options, image, ...command),
    // The pin: two mounts that a store's commands share.
    stop: async () => {
      for (const path of ['mnt/ns', 'mnt']) spawnSync('umount', ['-l', join(`${root}-run`, path)]);
    },
    build: (context, cached) =>
      call('build', '-q', '--network', 'none', ...(cached ? [] : ['--no-cache']), '-t', 'built:latest', context),
  };
}

function installed(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}

function podman(work: string): Engine {
  const base = ['--root', join(work, 'podman'), '--runroot', join(work, 'podman-run')];
  const call = (...args: string[]): Promise<Sample> => run(['podman', ...base, ...args], { cwd: work });
  return {
    name: 'podman',
    load: (input) => call('load', '-q', '-i', input.archive),
    pull: (reference) => call('pull', '-q', '--tls-verify=false', reference),
    removeAll: () => call('rmi', '-af'),
    rmi: (reference) => call('rmi', reference),
    run: (options, image, command) => call('run', '--rm', '--network', 'none', ...options, image, ...command),
    ...(installed('buildah') && {
      build: (context: string, cached: boolean) =>
        run(
          [
            'buildah',
            ...base,
            'bud',
            '-q',
            '--layers',
            '--network',
            'none',
            ...(cached ? [] : ['--no-cache']),
            '-t',
            'built:latest',
            context,
          ],
          { cwd: work },
        ),
    }),
  };
}

async function docker(work: string): Promise<Engine | undefined> {
  const socket = `unix://${join(work, 'docker.sock')}`;
  mkdirSync(work, { recursive: true });
  const log = join(work, 'dockerd.log');
  writeFileSync(log, '');
  const args = [
    '--data-root',
    join(work, 'docker'),
    '--exec-root',
    join(work, 'docker-exec'),
    '--pidfile',
    join(work, 'docker.pid'),
    '-H',
    socket,
    '--iptables=false',
    '--ip6tables=false',
    '--bridge=none',
  ];
  const daemon: ChildProcess = spawn('sh', ['-c', 'exec dockerd "$@" >>"$0" 2>&1', log, ...args], { stdio: 'ignore' });
  const env = { ...process.env, DOCKER_HOST: socket };
  const ready = async (): Promise<boolean> => {
    for (let i = 0; i < 150 && daemon.exitCode === null; i++) {
      if (spawnSync('docker', ['version'], { env, stdio: 'ignore' }).status === 0) return true;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return false;
  };
  const stop = async (): Promise<void> => {
    daemon.kill('SIGTERM');
    for (let i = 0; i < 100 && daemon.exitCode === null; i++) await new Promise((resolve) => setTimeout(resolve, 100));
  };
  if (!(await ready())) {
    await stop();
    console.error(`bench: dockerd does not start here, left out (see ${log})`);
    return undefined;
  }
  const call = (...rest: string[]): Promise<Sample> => run(['docker', ...rest], { env, cwd: work });
  return {
    name: 'docker',
    load: (input) => call('load', '-q', '-i', input.archive),
    pull: (reference) => call('pull', '-q', reference),
    removeAll: () => call('system', 'prune', '-af'),
    rmi: (reference) => call('rmi', reference),
    run: (options, image, command) => call('run', '--rm', '--network', 'none', ...options, image, ...command),
    build: (context, cached) =>
      call('build', '-q', '--network', 'none', ...(cached ? [] : ['--no-cache']), '-t', 'built:latest', context),
    stop,
  };
}

/** Starts what has a daemon; `stop` each. Says which are left out. */
export async function openPeers(work: string): Promise<Engine[]> {
  const peers: Engine[] = [];
  if (installed('podman')) peers.push(podman(work));
  else console.error('bench: podman is not installed, left out');
  if (installed('dockerd') && installed('docker')) {
    const engine = await docker(work);
    if (engine !== undefined) peers.push(engine);
  } else console.error('bench: dockerd is not installed, left out');
  return peers;
}

/** Writes back and drops the page cache, dentries and inodes. */
export function dropCaches(): void {
  execFileSync('sync');
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

export function clean(work: string): void {
  if (existsSync(work)) rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
}
