/** Steps with mounts that are stopped, and steps that want the same cache at the same time. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { listCacheMounts, removeCacheMount } from '../../src/build/mounts/cache.ts';
import { prune } from '../../src/store/prune.ts';
import { BuildLab, whyNoRun } from './lab.ts';
import { processesWith, startBuild, until } from './running.ts';

/** Mounts below a directory in the namespace of any process, but for the pin's. */
function mountsBelow(directory: string): string[] {
  const found = new Set<string>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      for (const line of readFileSync(`/proc/${name}/mountinfo`, 'utf8').split('\n')) {
        if (line.includes(` ${directory}/`) && !line.includes('/run/mnt')) found.add(line.split(' ')[4]!);
      }
    } catch {
      // It ended.
    }
  }
  return [...found];
}

const kinds: [name: string, flags: string][] = [
  ['bind of the context', '--mount=target=/m'],
  ['bind of the context, rw', '--mount=target=/m,rw'],
  ['bind of a stage, rw', '--mount=from=one,source=/bin,target=/m,rw'],
  ['cache', '--mount=type=cache,sharing=locked,target=/m'],
  ['cache that starts with a stage', '--mount=type=cache,from=one,source=/bin,target=/m,sharing=private'],
  ['tmpfs', '--mount=type=tmpfs,target=/m'],
  ['secret', '--mount=type=secret,id=s,target=/m --mount=type=secret,id=s,env=S'],
  ['ssh', '--mount=type=ssh,target=/m'],
  ['all rights', '--security=insecure --mount=type=tmpfs,target=/m'],
];

describe('a RUN that is stopped', { skip: whyNoRun() }, () => {
  for (const [name, flags] of kinds) {
    for (const signal of ['SIGKILL', 'SIGINT'] as const) {
      it(`with ${name} by ${signal}: nothing stays mounted or runs on, and the next build is fine`, async () => {
        using lab = new BuildLab();
        await lab.importBase();
        lab.write({ f: 'x' });
        const socket = join(lab.directory, 'agent');
        await using agent = createServer().listen(socket);
        assert.ok(agent.listening || (await once(agent, 'listening')));
        writeFileSync(join(lab.directory, 's'), 'value');
        const seconds = `61.${process.pid}${Math.floor(Math.random() * 1e6)}`;
        const dockerfile = `FROM base AS one\nFROM base\nRUN ${flags} ls -d /m && touch /half && echo started && sleep ${seconds}`;
        const args = ['--secret', `id=s,src=${lab.directory}/s`, '--ssh', `default=${socket}`];
        const running = startBuild(lab, dockerfile, [...args, '--allow', 'security.insecure']);
        await until('the step starts', () => running.output.includes('started\n'), running);
        running.child.kill(signal);
        await running.ended;
        await until('its processes end', () => processesWith(seconds).length === 0);
        await until('its mounts are gone', () => mountsBelow(lab.directory).length === 0);
        await until('its bundle is gone', () => readdirSync(join(lab.store.run, 'steps')).length === 0);
        const next = await lab.build(dockerfile.replace(seconds, '0'), {
          secrets: { s: { value: 'v' } },
          ssh: { default: [socket] },
          allow: ['security.insecure'],
        });
        assert.match(next.output, /started\n$/);
        for (const { inUse } of await listCacheMounts(lab.store)) assert.equal(inUse, false);
        await prune(lab.store, { keepCache: true });
        assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
        assert.deepEqual(mountsBelow(lab.directory), []);
      });
    }
  }
});

/** Two steps at a time, each of which says how many it sees at work in a directory that both mount. */
const together = (sharing: string): string =>
  [
    ...['one', 'two'].map(
      (name) =>
        `FROM base AS ${name}\nRUN --mount=type=cache,id=c,target=/c,sharing=${sharing} touch /c/${name} && sleep 0.8 && ls /c > /seen-${name} && rm /c/${name}`,
    ),
    'FROM base',
    'COPY --from=one /seen-one /',
    'COPY --from=two /seen-two /',
  ].join('\n');

describe('steps that want the same cache', { skip: whyNoRun() }, () => {
  const cases: [sharing: string, count: number][] = [
    ['shared', 1],
    ['private', 2],
    ['locked', 1],
  ];
  for (const [sharing, count] of cases) {
    it(`${sharing}`, async () => {
      using lab = new BuildLab();
      await lab.importBase();
      const { image } = await lab.build(together(sharing));
      const seen = [lab.read(image, 'seen-one'), lab.read(image, 'seen-two')];
      if (sharing === 'shared') assert.ok(seen.includes('one\ntwo\n'), JSON.stringify(seen));
      else assert.deepEqual(seen, ['one\n', 'two\n']);
      assert.equal((await listCacheMounts(lab.store)).length, count);
    });
  }

  it('one that waits for another build is stopped by Ctrl-C, and one in use is not removed', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const run = (command: string): string =>
      `FROM base\nRUN --mount=type=cache,id=c,target=/c,sharing=locked ${command}`;
    const seconds = `62.${process.pid}${Math.floor(Math.random() * 1e6)}`;
    const first = startBuild(lab, run(`echo started && sleep ${seconds}`));
    await until('the first starts', () => first.output.includes('started\n'), first);
    const second = startBuild(lab, run('echo second'));
    await until('the second waits', () => second.output.includes('RUN --mount'), second);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(!second.output.includes('second\n') || /RUN .*echo second\n$/.test(second.output), second.output);
    second.child.kill('SIGINT');
    assert.deepEqual(await second.ended, [130, null]);
    const [mount] = await listCacheMounts(lab.store);
    assert.equal(mount!.inUse, true);
    assert.equal(removeCacheMount(lab.store, mount!.name), false);
    first.child.kill('SIGKILL');
    await first.ended;
    const third = await lab.build(run('echo third'));
    assert.equal(third.output, 'third\n');
    assert.ok(processesWith(seconds).length === 0, 'the lock is not let go of before the processes are gone');
  });

  it('two caches in one step and in another the other way round: none waits for ever', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const mount = (id: string): string => `--mount=type=cache,id=${id},target=/${id},sharing=locked`;
    const { image } = await lab.build(
      [
        `FROM base AS one\nRUN ${mount('a')} ${mount('b')} sleep 0.3; touch /1`,
        `FROM base AS two\nRUN ${mount('b')} ${mount('a')} sleep 0.3; touch /2`,
        'FROM base\nCOPY --from=one /1 /\nCOPY --from=two /2 /',
      ].join('\n'),
    );
    assert.ok(lab.paths(image).includes('2'));
  });

  it('the same cache at two places of one step', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const mount = (target: string): string => `--mount=type=cache,id=a,target=${target},sharing=locked`;
    const { output } = await lab.build(`FROM base\nRUN ${mount('/x')} ${mount('/y')} touch /x/f; ls /y`);
    assert.equal(output, 'f\n');
  });

  it('a directory of a cache that a killed build half made is completed', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const run = 'FROM base\nRUN --mount=type=cache,id=a,target=/x';
    await lab.build(`${run} touch /x/f`);
    const [mount] = await listCacheMounts(lab.store);
    const place = join(lab.store.root, 'cache', 'mounts', mount!.name);
    removeCacheMount(lab.store, mount!.name);
    mkdirSync(place, { mode: 0o700 });
    assert.equal((await lab.build(`${run} ls /x; touch /x/g`)).output, '');
    assert.ok(existsSync(join(place, 'data', 'g')));
  });
});

it('a step that is killed after another leaves its cache as it was, and no bundle', { skip: whyNoRun() }, async () => {
  using lab = new BuildLab();
  await lab.importBase();
  const cached = 'RUN --mount=type=cache,target=/c';
  await lab.build(`FROM base\n${cached} echo kept > /c/file`);
  const running = startBuild(lab, `FROM base\nRUN echo > /x\n${cached} cat /c/file && echo started && sleep 61`);
  await until('the step starts', () => running.output.includes('started\n'), running);
  running.child.kill('SIGKILL');
  await running.ended;
  await until('its bundle is gone', () => readdirSync(join(lab.store.run, 'steps')).length === 0);
  assert.equal((await lab.build(`FROM base\n${cached} cat /c/file`, { noCache: true })).output, 'kept\n');
});
