/** Registries on loopback, each with a new directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface RunningRegistry extends AsyncDisposable {
  host: string;
  /** Highest resident set since the start, MB of 10^6 bytes. */
  peakMB(): number;
}

export async function startDockerRegistry(directory: string): Promise<RunningRegistry> {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'config.yml');
  writeFileSync(
    file,
    `version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${directory}/data}}\nhttp: {addr: '127.0.0.1:0'}\n`,
  );
  return startRegistry(directory, ['docker-registry', 'serve', file], /listening on 127\.0\.0\.1:(\d+)/);
}

/** `bin` is the command; it logs each request, as it does by default. */
export async function startImagoRegistry(bin: string, directory: string): Promise<RunningRegistry> {
  mkdirSync(directory, { recursive: true });
  const words = ['registry', 'serve', '--address', '127.0.0.1:0', '--storage', join(directory, 'data')];
  return startRegistry(directory, [bin, ...words], /127\.0\.0\.1:(\d+)/);
}

async function startRegistry(directory: string, command: string[], ready: RegExp): Promise<RunningRegistry> {
  const child: ChildProcess = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  let port: string | undefined;
  const listen = (text: string): void => {
    if (port !== undefined) return;
    log += text;
    port = ready.exec(log)?.[1];
  };
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', listen);
  while (port === undefined) {
    if (child.exitCode !== null) throw new Error(`${command[0]} ended: ${log}`);
    await Promise.race([once(child.stdout!, 'data'), once(child.stderr!, 'data'), once(child, 'exit')]);
  }
  return {
    host: `127.0.0.1:${port}`,
    peakMB: () =>
      (Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))![1]) * 1024) / 1e6,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
