import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildEvent } from '../../src/build/events.ts';
import { SharedSteps } from '../../src/build/shared-steps.ts';
import { BuildLab, type BuildRun, whyNoRun } from './lab.ts';

/** 'start NAME' and 'done NAME' in the order in which they were told. */
function order(events: readonly BuildEvent[]): string[] {
  const names = new Map<number, string>();
  return events.flatMap((event) => {
    if (event.type === 'start') names.set(event.step, event.name.replace(/^\[[^\]]*\] /, ''));
    return event.type === 'start' || event.type === 'done' ? [`${event.type} ${names.get(event.step)}`] : [];
  });
}

const processesWith = (word: string): string[] =>
  readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(word);
    } catch {
      return false;
    }
  });

const isQuiet = (lab: BuildLab): void => {
  assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
  assert.deepEqual(readdirSync(join(lab.store.root, 'leases')), []);
  assert.deepEqual(readdirSync(join(lab.store.run, 'steps')), []);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  assert.deepEqual(
    mounts.filter((line) => line.includes(` ${lab.directory}/`) && !line.includes('/run/mnt')),
    [],
  );
};

describe('stages side by side', { skip: whyNoRun() }, () => {
  it('what does not need each other runs at the same time; what does, in order', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    // Each waits for the other by a pipe: one after the other they would never end.
    const wait = (own: string, other: string): string =>
      `RUN --mount=type=cache,target=/meet touch /meet/${own}; for i in $(busybox seq 200); do [ -e /meet/${other} ] && exit 0; sleep 0.05; done; exit 1`;
    const dockerfile = [
      'FROM base AS a',
      wait('a', 'b'),
      'RUN echo a > /a',
      'FROM base AS b',
      wait('b', 'a'),
      'RUN echo b > /b',
      'FROM base AS unneeded',
      'RUN exit 9',
      'FROM base',
      'COPY --from=a /a /',
      'COPY --from=b /b /',
    ].join('\n');
    const { image, events } = await lab.build(dockerfile);
    assert.equal(lab.read(image, 'a'), 'a\n');
    assert.equal(lab.read(image, 'b'), 'b\n');
    const told = order(events);
    for (const name of ['a', 'b']) {
      assert.ok(
        told.indexOf(`done RUN echo ${name} > /${name}`) < told.indexOf(`start COPY --from=${name} /${name} /`),
        told.join('\n'),
      );
    }
    assert.ok(!told.some((line) => line.includes('exit 9')));
    isQuiet(lab);
  });

  it('the first error is what is told; all others end, and nothing is left', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const word = `77.${process.pid}${Math.floor(Math.random() * 1e6)}`;
    const slow = ['x', 'y'].map(
      (name) => `FROM base AS ${name}\nRUN --mount=type=cache,target=/meet touch /meet/${name}; sleep ${word}`,
    );
    const fails =
      'FROM base AS bad\nRUN --mount=type=cache,target=/meet while [ ! -e /meet/x ] || [ ! -e /meet/y ]; do sleep 0.05; done; echo broken; exit 5';
    const last = 'FROM base\nCOPY --from=x / /\nCOPY --from=bad / /\nCOPY --from=y / /';
    await assert.rejects(
      lab.build([...slow, fails, last].join('\n')),
      (error: Error & { code: string; output: string; line: number }) => {
        assert.equal(error.code, 'RUN_FAILED');
        assert.equal(error.output, 'broken\n');
        assert.equal(error.line, 6);
        return true;
      },
    );
    assert.deepEqual(processesWith(word), []);
    isQuiet(lab);
  });

  it('a signal ends all of them', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const word = `78.${process.pid}${Math.floor(Math.random() * 1e6)}`;
    const stages = [1, 2, 3].map((n) => `FROM base AS s${n}\nRUN echo up; sleep ${word}; echo ${n}`);
    const stop = new AbortController();
    let up = 0;
    const onEvent = (event: BuildEvent): void => {
      if (event.type === 'output' && ++up === 3) stop.abort(new Error('enough'));
    };
    const last = 'FROM scratch\nCOPY --from=s1 / /\nCOPY --from=s2 / /\nCOPY --from=s3 / /';
    await assert.rejects(lab.build([...stages, last].join('\n'), { signal: stop.signal, onEvent }));
    assert.deepEqual(processesWith(word), []);
    isQuiet(lab);
  });

  it('a stage that several need is built once, and so is what two stages have in common', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const common = 'FROM base AS common\nRUN echo once; cat /proc/sys/kernel/random/uuid > /id';
    const users = [1, 2, 3].map((n) => `FROM common AS u${n}\nRUN cp /id /u${n}`.replace('cp', 'busybox cp'));
    const alike = ['p', 'q'].map((n) => `FROM base AS ${n}\nRUN echo alike; cat /proc/sys/kernel/random/uuid > /alike`);
    const last = `FROM scratch\n${[1, 2, 3].map((n) => `COPY --from=u${n} /u${n} /`).join('\n')}\nCOPY --from=p /alike /p\nCOPY --from=q /alike /q`;
    const { image, output } = await lab.build([common, ...users, ...alike, last].join('\n'), { noCache: true });
    assert.deepEqual(
      output
        .split('\n')
        .filter((line) => line !== '')
        .sort(),
      ['alike', 'once'],
    );
    assert.equal(lab.read(image, 'u1'), lab.read(image, 'u3'));
    assert.equal(lab.read(image, 'p'), lab.read(image, 'q'));
  });

  it('a COPY --from pulls its stage in, and the target alone decides', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile =
      'FROM base AS one\nRUN echo one > /o\nFROM base AS two\nCOPY --from=one /o /\nFROM two AS three\nRUN echo three > /t\nFROM base AS other\nRUN exit 1';
    const names = (run: BuildRun): string[] => run.done.filter((name) => /^(RUN|COPY)/.test(name));
    assert.deepEqual(names(await lab.build(dockerfile, { target: 'one' })), ['RUN echo one > /o']);
    assert.deepEqual(names(await lab.build(dockerfile, { target: '2' })), [
      'COPY --from=one /o /',
      'RUN echo three > /t',
    ]);
    await assert.rejects(lab.build(dockerfile), { code: 'RUN_FAILED', line: 8 });
  });
});

describe('many stages and steps', () => {
  it('200 stages, each on its own, are copied into one', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'x' });
    const stages = Array.from({ length: 200 }, (_, i) => `FROM scratch AS s${i}\nCOPY a /f${i}`);
    const last = `FROM scratch\n${Array.from({ length: 100 }, (_, i) => `COPY --from=s${i} /f${i} /`).join('\n')}`;
    const { image } = await lab.build([...stages, last].join('\n'));
    assert.equal(image.diffIds.length, 100);
    assert.equal(lab.paths(image).length, 100);
  });
  it('a chain of 200 stages', async () => {
    using lab = new BuildLab();
    const stages = Array.from(
      { length: 200 },
      (_, i) => `FROM ${i === 0 ? 'scratch' : `s${i - 1}`} AS s${i}\nENV v${i}=1`,
    );
    const { image } = await lab.build(stages.join('\n'));
    assert.equal(image.config.config!.Env!.length, 201);
  });
  it('a Dockerfile of 10,000 lines', async () => {
    using lab = new BuildLab();
    const kinds = ['ENV v$=1', 'ARG a$=1', 'LABEL l$=1', '# comment', 'EXPOSE $'];
    const lines = Array.from({ length: 10_000 }, (_, i) => kinds[i % kinds.length]!.replaceAll('$', `${i}`));
    const started = performance.now();
    const { image } = await lab.build(`FROM scratch\n${lines.join('\n')}`);
    assert.equal(Object.keys(image.config.config!.Labels!).length, 2000);
    assert.ok(performance.now() - started < 60_000);
  });
});

describe('the parts of the solver', () => {
  it('a shared step is done by who asks first, and its failure is everybody’s', async () => {
    const steps = new SharedSteps();
    let done = 0;
    const work = async (): Promise<number> => ++done;
    const all = await Promise.all([steps.once('a', work), steps.once('a', work), steps.once('b', work)]);
    assert.deepEqual(all, [
      { value: 1, shared: false },
      { value: 1, shared: true },
      { value: 2, shared: false },
    ]);
    const fail = (): Promise<never> => Promise.reject(new Error('no'));
    for (const result of await Promise.allSettled([steps.once('c', fail), steps.once('c', work)]))
      assert.equal(result.status, 'rejected');
  });
});
