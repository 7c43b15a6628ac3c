import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { prune } from '../../src/store/prune.ts';
import { BuildLab, whyNoRun } from './lab.ts';
import { processesWith, startBuild, until } from './running.ts';

const main: string = join(import.meta.dirname, '../../src/cli/main.ts');

function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` ${directory}/`) && !line.includes('/run/mnt'));
}

describe('a build that is stopped', { skip: whyNoRun() }, () => {
  for (const signal of ['SIGKILL', 'SIGINT', 'SIGTERM'] as const) {
    it(`by ${signal} in a RUN: nothing runs on, and the next build is fine`, async () => {
      using lab = new BuildLab();
      await lab.importBase();
      const word = `60.${process.pid}${Math.floor(Math.random() * 1e6)}`;
      const running = startBuild(lab, `FROM base\nRUN touch /half && echo started && sleep ${word}`);
      await until('the step starts', () => running.output.includes('started\n') && processesWith(word).length > 0);
      running.child.kill(signal);
      const [code, by] = await running.ended;
      if (signal === 'SIGKILL') assert.equal(by, 'SIGKILL');
      else assert.equal(code, signal === 'SIGINT' ? 130 : 143, running.output);
      await until('its processes end', () => processesWith(word).length === 0);
      assert.deepEqual(mountsBelow(lab.directory), []);
      const next = await lab.build('FROM base\nRUN echo next');
      assert.equal(next.output, 'next\n');
      await prune(lab.store, { keepCache: true });
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
      assert.deepEqual(readdirSync(join(lab.store.root, 'leases')), []);
    });
  }

  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    it(`by ${signal} with three stages at work: all of them end`, async () => {
      using lab = new BuildLab();
      await lab.importBase();
      for (let i = 0; i < 50; i++) writeFileSync(join(lab.context, `f${i}`), Buffer.alloc(1 << 20, i));
      const word = `61.${process.pid}${Math.floor(Math.random() * 1e6)}`;
      const stages = [1, 2].map((n) => `FROM base AS s${n}\nRUN touch /half && echo started${n} && sleep ${word}`);
      const copies = `FROM base AS files\n${'COPY . /x/\nRUN rm -r /x\n'.repeat(20)}`;
      const last = 'FROM scratch\nCOPY --from=s1 / /\nCOPY --from=s2 / /\nCOPY --from=files / /';
      const running = startBuild(lab, [...stages, copies, last].join('\n'));
      const both = (): boolean => running.output.includes('started1\n') && running.output.includes('started2\n');
      await until('both steps run', () => both() && processesWith(word).length >= 2);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
      running.child.kill(signal);
      const [code, by] = await running.ended;
      if (signal === 'SIGKILL') assert.equal(by, 'SIGKILL');
      else assert.equal(code, 130, running.output);
      await until('its processes end', () => processesWith(word).length === 0);
      const steps = join(lab.store.run, 'steps');
      await until('its bundles go', () => readdirSync(steps).length === 0);
      assert.deepEqual(mountsBelow(lab.directory), []);
      assert.equal((await lab.build('FROM base\nRUN echo next')).output, 'next\n');
      await prune(lab.store, { keepCache: true });
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
      assert.deepEqual(readdirSync(join(lab.store.root, 'leases')), []);
    });
  }

  for (const [what, dockerfile] of [
    ['the context comes in', undefined],
    ['a stage is planned', 'FROM base\nCOPY . /\nRUN true'],
  ] as const) {
    it(`by SIGKILL while ${what}: nothing of it stays`, async () => {
      using lab = new BuildLab();
      await lab.importBase();
      const command = dockerfile === undefined ? ['-'] : ['-f', '-', lab.context];
      const child = spawn(process.execPath, [main, 'build', ...command], {
        env: { ...process.env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run },
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      const ended = once(child, 'close');
      // The start of a tar, or of a Dockerfile, and then nothing more.
      child.stdin
        .on('error', () => {})
        .write(dockerfile ?? execFileSync('tar', ['-c', '-C', '/etc', 'passwd']).subarray(0, 1000));
      const ingest = join(lab.store.root, 'ingest');
      if (dockerfile === undefined) await until('it comes in', () => readdirSync(ingest).length > 0);
      else await new Promise((resolve) => setTimeout(resolve, 300));
      child.kill('SIGKILL');
      await ended;
      await prune(lab.store, { keepCache: true });
      assert.deepEqual(readdirSync(ingest), []);
    });
  }

  it('by SIGKILL in a COPY: what was half written is collected', async () => {
    using lab = new BuildLab();
    for (let i = 0; i < 200; i++) writeFileSync(join(lab.context, `f${i}`), Buffer.alloc(1 << 20, i));
    const running = startBuild(lab, 'FROM scratch\nCOPY . /');
    const ingest = join(lab.store.root, 'ingest');
    await until('the layer is being written', () => existsSync(ingest) && readdirSync(ingest).length > 0);
    running.child.kill('SIGKILL');
    await running.ended;
    const left = readdirSync(ingest).length;
    await prune(lab.store);
    assert.deepEqual(readdirSync(ingest), []);
    const { image, cached } = await lab.build('FROM scratch\nCOPY . /');
    assert.deepEqual(cached, []);
    assert.equal(lab.paths(image).length, 200);
    assert.ok(left <= 1);
  });
});

describe('builds at the same time', { skip: whyNoRun() }, () => {
  it('of the same file on one store all succeed', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ a: '1', 'd/b': '2' });
    const all = [1, 2, 3].map(() => startBuild(lab, 'FROM base\nWORKDIR /w\nCOPY . .\nRUN cat a > c\nRUN rm a'));
    for (const running of all) assert.deepEqual(await running.ended, [0, null], running.output);
    const { image } = await lab.build('FROM base\nWORKDIR /w\nCOPY . .\nRUN cat a > c\nRUN rm a');
    assert.equal(lab.read(image, 'w/c'), '1');
    assert.equal(lab.read(image, 'w/a'), undefined);
  });
});

describe('without root', { skip: process.getuid?.() !== 0 ? 'only root can become somebody else' : false }, () => {
  it('COPY works, and RUN says what it needs', () => {
    using lab = new BuildLab();
    lab.write({ a: '1', Dockerfile: 'FROM scratch\nCOPY a /', 'run.df': 'FROM scratch\nCOPY a /\nRUN ["/a"]' });
    execFileSync('chmod', ['-R', 'a+rwX', lab.directory]);
    execFileSync('chown', ['-R', '65534:65534', lab.directory]);
    const build = (...args: string[]): string => {
      const env = {
        PATH: process.env.PATH,
        HOME: lab.directory,
        IMAGO_ROOT: join(lab.directory, 'r2'),
        IMAGO_RUN: join(lab.directory, 'run2'),
      };
      const result = execFileSync(
        'sh',
        ['-c', '"$@" 2>&1 || echo "status $?"', 'sh', process.execPath, main, 'build', ...args],
        { cwd: lab.context, env, uid: 65534, gid: 65534, encoding: 'utf8' },
      );
      return result;
    };
    assert.match(build('-q', '.'), /^sha256:[0-9a-f]{64}\n$/);
    const failed = build('-f', 'run.df', '.');
    assert.match(failed, /#2 DONE|CACHED/);
    assert.match(failed, /root/);
    assert.match(failed, /status 1\n$/);
  });
});
