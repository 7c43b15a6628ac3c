import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runStep, type StepOptions } from '../../src/container/step.ts';
import { ImagoError } from '../../src/core/errors.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { Lab, mountsBelow, skipContainers } from './lab.ts';

const skip = skipContainers();

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

  test('kill -9 of the build ends the step', async () => {
    const script = `
      import { runStep } from '${join(import.meta.dirname, '../../src/container/step.ts')}';
      import { resolveImage } from '${join(import.meta.dirname, '../../src/image/resolve.ts')}';
      import { Store } from '${join(import.meta.dirname, '../../src/store/store.ts')}';
      const store = Store.open();
      const { diffIds } = resolveImage(store, 'box');
      await runStep(store, { diffIds, upper: '${lab.directory}/u', work: '${lab.directory}/w', env: [], cwd: '/', user: '',
        args: ['sh', '-c', 'echo up; sleep 1000'], stdout: 'inherit', stderr: 'inherit' });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env: lab.env });
    await once(child.stdout, 'data');
    assert.equal(readdirSync(join(lab.store.run, 'runtime')).length, 1);
    child.kill('SIGKILL');
    await lab.until('the step is gone', () => readdirSync(join(lab.store.run, 'steps')).length === 0);
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
    assert.ok(existsSync(join(lab.directory, 'u')));
  });
});
