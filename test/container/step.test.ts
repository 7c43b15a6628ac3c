import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { collectContainers } from '../../src/container/collect.ts';
import { runStep, type StepOptions } from '../../src/container/step.ts';
import { ImagoError } from '../../src/core/errors.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { findRuntime } from '../../src/runtime/find-runtime.ts';
import { Lab, mountsBelow, skipContainers } from './lab.ts';

const skip = skipContainers();

/** Those that have all these words in their command lines. */
function processesWith(...words: string[]): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words.every((word) => line.includes(word)) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

describe('steps of a build', { skip: skip ?? false }, () => {
  let lab: Lab;
  let count = 0;
  before(async () => {
    lab = new Lab();
    await lab.image('box', {});
  });
  after(() => lab[Symbol.dispose]());

  const step = async (
    script: string,
    options: Partial<StepOptions> = {},
  ): Promise<{ status: number; out: string; err: string; upper: string }> => {
    const place = join(lab.directory, `step-${count++}`);
    mkdirSync(place);
    const upper = join(place, 'upper');
    let [out, err] = ['', ''];
    const status = await runStep(lab.store, {
      diffIds: resolveImage(lab.store, 'box').diffIds,
      upper,
      work: join(place, 'work'),
      args: ['sh', '-c', script],
      env: [],
      cwd: '/',
      user: '',
      stdout: (chunk) => {
        out += chunk;
      },
      stderr: (chunk) => {
        err += chunk;
      },
      ...options,
    });
    assert.deepEqual(readdirSync(place), ['upper']);
    return { status, out, err, upper };
  };

  test('output, status and what it wrote', async () => {
    const { status, out, err, upper } = await step('echo out; echo err >&2; echo x > /file; id -u; pwd', {
      user: 'ann',
      cwd: '/tmp/made',
    });
    assert.deepEqual([status, out], [0, 'out\n1000\n/tmp/made\n']);
    assert.match(err, /^err\n.*Permission denied/);
    assert.deepEqual(readdirSync(upper), ['tmp']);
    assert.equal((await step('exit 42')).status, 42);
  });

  test("several in one process, each with a layer of its own, in the host's network", async () => {
    const first = await step('echo 1 > /one; ls /sys/class/net; echo $PATH $HOME', { env: ['HOME=/x'] });
    assert.match(first.out, /\/usr\/local\/sbin:.* \/x\n$/);
    assert.equal(readFileSync(join(first.upper, 'one'), 'utf8'), '1\n');
    const second = await step('ls /one 2>/dev/null; readlink /proc/self/ns/net');
    assert.equal(second.out, spawnSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }).stdout);
    assert.deepEqual(readdirSync(second.upper), []);
    assert.equal((await step('ls /sys/class/net', { network: 'none' })).out, 'lo\n');
  });

  test('what cannot be run is an error, not a status', async () => {
    await assert.rejects(step('', { args: ['no-such'] }), { code: 'COMMAND_NOT_FOUND' });
    await assert.rejects(step('', { user: 'nobody-here' }), { code: 'UNKNOWN_USER' });
  });

  test('it can be stopped', async () => {
    const abort = new AbortController();
    const running = step('sleep 1000', { signal: abort.signal });
    setTimeout(() => abort.abort(), 300);
    await assert.rejects(running, (error) => error instanceof ImagoError && error.code === 'ABORTED');
    await assert.rejects(step('sleep 1000', { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  });

  test('nothing stays mounted or in the way', () => {
    assert.deepEqual(readdirSync(join(lab.store.run, 'steps')), []);
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
    assert.deepEqual(
      mountsBelow(lab.directory).filter((path) => !path.startsWith(join(lab.store.run, 'mnt'))),
      [],
    );
  });

  const word = `100.${process.pid}`;

  /** A process that does nothing but a step. */
  const startBuild = (command: string, env: NodeJS.ProcessEnv = {}): ChildProcess => {
    const place = join(lab.directory, `build-${count++}`);
    mkdirSync(place);
    const script = `
      import { runStep } from '${join(import.meta.dirname, '../../src/container/step.ts')}';
      import { resolveImage } from '${join(import.meta.dirname, '../../src/image/resolve.ts')}';
      import { Store } from '${join(import.meta.dirname, '../../src/store/store.ts')}';
      const store = Store.open();
      const { diffIds } = resolveImage(store, 'box');
      await runStep(store, { diffIds, upper: '${place}/upper', work: '${place}/work', env: [], cwd: '/', user: '',
        args: ['sh', '-c', '${command}'], stdout: 'inherit', stderr: 'inherit' });`;
    return spawn(process.execPath, ['--input-type=module', '-e', script], { env: { ...lab.env, ...env } });
  };
  const left = (): string[] => ['steps', 'runtime'].flatMap((name) => readdirSync(join(lab.store.run, name)));

  test('kill -9 of the build ends the step', async () => {
    const child = startBuild('echo up; sleep 1000');
    await once(child.stdout!, 'data');
    assert.equal(readdirSync(join(lab.store.run, 'runtime')).length, 1);
    child.kill('SIGKILL');
    await lab.until('the step is gone', () => readdirSync(join(lab.store.run, 'steps')).length === 0);
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
  });

  test('kill -9 of the build while the runtime starts: nothing is left, and nothing runs', async () => {
    const at = join(lab.directory, 'slow');
    const { path } = await findRuntime(lab.store.run);
    // One that begins to write into the bundle when the build is gone.
    const wait = `: > ${at}-started; while [ ! -e ${at}-go ]; do sleep 0.02; done`;
    const slow = `#!/bin/sh\ncase "$*" in *' run '*) ${wait};; esac\nexec ${path} "$@"\n`;
    writeFileSync(at, slow, { mode: 0o755 });
    const child = startBuild(`: ${at}; sleep ${word}`, { IMAGO_RUNTIME: at });
    await lab.until('the runtime starts', () => existsSync(`${at}-started`));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [bundle] = readdirSync(join(lab.store.run, 'steps'));
    await collectContainers(lab.store);
    assert.deepEqual(left(), [bundle], 'the runtime is there');
    writeFileSync(`${at}-go`, '');
    await lab.until('all is gone', () => left().length === 0);
    assert.deepEqual(processesWith(word), []);
  });

  test('build, runtime and reaper all killed: the next prune ends the step at once', async () => {
    const child = startBuild(`sleep ${word}; true`);
    await lab.until('its process is there', () => processesWith('sleep', word).length === 1);
    const [id] = readdirSync(join(lab.store.run, 'steps'));
    await collectContainers(lab.store);
    assert.deepEqual(left(), [id, id], 'it is at work');
    for (const pid of processesWith('imago-reaper', id!)) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
    for (const pid of processesWith('run', id!)) process.kill(pid, 'SIGKILL');
    // Nobody's death is over when the signal is sent.
    for (let tries = 0; left().length > 0 && tries < 100; tries++) {
      await sleep(20);
      await collectContainers(lab.store);
    }
    assert.deepEqual(left(), []);
    await lab.until('its process is gone', () => processesWith('sleep', word).length === 0);
  });
});
