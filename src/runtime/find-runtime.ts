import { accessSync, constants, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { replaceFile } from '../system/atomic.ts';
import { bootId } from '../system/boot.ts';
import { randomHex } from '../system/random.ts';

export interface OciRuntime {
  name: string;
  /** Absolute. */
  path: string;
}

/** In order of preference; crun where it works is smaller, runc is what the most machines have. */
const CANDIDATES = ['runc', 'crun'];
/** Where system programs are, also for a user whose PATH does not say so. */
const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** An executable file in PATH or the system directories; a name with '/' is a path. */
export function findProgram(name: string): string | undefined {
  const inPath = (process.env.PATH ?? '').split(':').filter((directory) => directory.startsWith('/'));
  const places = name.includes('/') ? [name] : [...inPath, ...SYSTEM_DIRECTORIES].map((place) => join(place, name));
  return places.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

/**
 * The program that starts containers here: IMAGO_RUNTIME, or the first of runc and crun that works, found by trying
 * and kept in RUN for this boot. Throws `NO_RUNTIME`.
 */
export async function findRuntime(run: string): Promise<OciRuntime> {
  const forced = process.env.IMAGO_RUNTIME;
  if (forced) return forcedRuntime(forced);
  return readChoice(run) ?? (await probeRuntimes(run));
}

function forcedRuntime(text: string): OciRuntime {
  const path = findProgram(text);
  if (path !== undefined) return { name: path.slice(path.lastIndexOf('/') + 1), path };
  throw new ImagoError('NO_RUNTIME', `${text} not found`, {
    remedy: 'IMAGO_RUNTIME names runc, crun or the path of one',
    exitCode: 125,
  });
}

function choicePath(run: string): string {
  return join(run, 'runtime.json');
}

function readChoice(run: string): OciRuntime | undefined {
  try {
    const choice = JSON.parse(readFileSync(choicePath(run), 'utf8')) as OciRuntime & { boot: string };
    if (choice.boot !== bootId()) return undefined;
    accessSync(choice.path, constants.X_OK);
    return { name: choice.name, path: choice.path };
  } catch {
    return undefined;
  }
}

async function probeRuntimes(run: string): Promise<OciRuntime> {
  const refusals: string[] = [];
  for (const name of CANDIDATES) {
    const path = findProgram(name);
    if (path === undefined) continue;
    const refusal = await tryRuntime(path, run);
    if (refusal === undefined) {
      const runtime = { name, path };
      replaceFile(choicePath(run), JSON.stringify({ ...runtime, boot: bootId() }));
      return runtime;
    }
    refusals.push(`${name}: ${refusal}`);
  }
  if (refusals.length === 0) {
    throw new ImagoError('NO_RUNTIME', 'runc not found', {
      remedy: "install it with 'apt-get install runc'",
      exitCode: 125,
    });
  }
  throw new ImagoError('NO_RUNTIME', 'no container runtime works here', {
    got: refusals.join('; '),
    remedy: "install another with 'apt-get install runc', or name one in IMAGO_RUNTIME",
    exitCode: 125,
  });
}

/**
 * Has the runtime make a container of an empty directory, as far as the cgroups: that is where runtimes differ in
 * what they accept. A command that is missing in it is the expected end. Undefined where it works.
 */
async function tryRuntime(path: string, run: string): Promise<string | undefined> {
  const { spawnSync } = await import('node:child_process');
  const id = `imago-probe-${randomHex(8)}`;
  const bundle = join(run, id);
  const root = join(run, `${id}-state`);
  mkdirSync(bundle, { mode: 0o700 });
  try {
    mkdirSync(join(bundle, 'rootfs'), { mode: 0o755 });
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(probeSpec(id)), { mode: 0o600 });
    const result = spawnSync(path, ['--root', root, 'run', '--bundle', bundle, id], {
      encoding: 'utf8',
      timeout: 10_000,
    });
    const text = `${result.error?.message ?? ''}${result.stderr ?? ''}`.trim();
    if (/no such file or directory|executable file .*not found/i.test(text) && text.includes('imago-probe')) {
      return undefined;
    }
    spawnSync(path, ['--root', root, 'delete', '--force', id], { timeout: 10_000 });
    return lastMessage(text) || `ended with ${result.status ?? result.signal}`;
  } finally {
    rmSync(bundle, { recursive: true, force: true });
    rmSync(root, { recursive: true, force: true });
  }
}

function probeSpec(id: string): object {
  return {
    ociVersion: '1.0.2',
    process: { user: { uid: 0, gid: 0 }, args: ['/imago-probe'], env: [], cwd: '/', terminal: false },
    root: { path: 'rootfs' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      cgroupsPath: `/imago/${id}`,
      resources: { devices: [{ allow: false, access: 'rwm' }] },
    },
  };
}

/** What a runtime printed, without its time stamp and level. */
export function lastMessage(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? '';
  const quoted = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
  return quoted === undefined ? line.replace(/^time=\S+ level=\w+ msg=/, '') : quoted.replace(/\\(.)/g, '$1');
}
