/** A docker of our own for the time of a test: Debian 12's, unpacked and not installed, without bridge and firewall. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Peer } from './peer.ts';
import type { Apt } from './public-apt.ts';
import { mustRun, run } from './public-run.ts';

/** dockerd starts containerd by itself; the builder in it, BuildKit, starts runc. */
const PACKAGES = ['docker.io', 'containerd', 'runc', 'libdevmapper1.02.1'];

export interface OwnPeer extends Peer, AsyncDisposable {}

/** Throws, with the end of the daemon's log, where it does not come up. */
export async function startDocker(apt: Apt, home: string): Promise<OwnPeer> {
  const root = join(home, 'root');
  mkdirSync(root, { recursive: true });
  await apt.download(PACKAGES, root);
  const files = readdirSync(root).filter((name) => name.endsWith('.deb'));
  await Promise.all(files.map((name) => mustRun(['dpkg-deb', '-x', join(root, name), root])));
  // Sockets' paths are short.
  const state = mkdtempSync(join(tmpdir(), 'imago-docker-'));
  const env = {
    ...process.env,
    PATH: [join(root, 'usr/bin'), join(root, 'usr/sbin'), process.env.PATH, '/usr/sbin:/sbin'].join(':'),
    LD_LIBRARY_PATH: `${join(root, 'lib/x86_64-linux-gnu')}:${join(root, 'usr/lib/x86_64-linux-gnu')}`,
    DOCKER_HOST: `unix://${state}/socket`,
    DOCKER_CONFIG: state,
    DOCKER_BUILDKIT: '1',
  };
  const log = join(state, 'log');
  const daemon = spawnDaemon(state, log, env);
  const peer: OwnPeer = {
    docker: (args, cwd) => run([join(root, 'usr/bin/docker'), ...args], { cwd, env }),
    [Symbol.asyncDispose]: async () => {
      await end(daemon);
      rmSync(state, { recursive: true, force: true });
    },
  };
  for (let tries = 0; tries < 150 && daemon.exitCode === null; tries++) {
    if ((await peer.docker(['version'])).status === 0) return peer;
    await sleep(200);
  }
  const said = readFileSync(log, 'utf8').slice(-1000);
  await peer[Symbol.asyncDispose]();
  throw new Error(`dockerd does not come up: ${said}`);
}

function spawnDaemon(state: string, log: string, env: NodeJS.ProcessEnv): ChildProcess {
  const words = ['--data-root', 'data', '--exec-root', 'exec', '--pidfile', 'pid'];
  for (let i = 1; i < words.length; i += 2) words[i] = join(state, words[i]!);
  words.push('-H', `unix://${state}/socket`, '--iptables=false', '--ip6tables=false', '--bridge=none');
  const output = openSync(log, 'w');
  // It does not outlive this process, however that one ends.
  const daemon = spawn('setpriv', ['--pdeathsig', 'TERM', 'dockerd', ...words], {
    env,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  daemon.on('error', () => {});
  return daemon;
}

/** It ends its containerd and unmounts what it mounted. */
async function end(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.pid === undefined) return;
  const gone = new Promise((resolve) => daemon.once('exit', resolve));
  daemon.kill('SIGTERM');
  const late = setTimeout(() => daemon.kill('SIGKILL'), 20_000);
  await gone;
  clearTimeout(late);
}
