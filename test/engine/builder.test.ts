import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { BuildEvent } from '../../src/build/events.ts';
import { BuildError, Engine, type FailedStep, type ImageBuilder, image, isImagoError } from '../../src/index.ts';
import { BuildLab, whyNoRun } from '../build/lab.ts';

const skip = whyNoRun();

describe('a builder and a Dockerfile that say the same', { skip }, () => {
  let lab: BuildLab;
  let engine: Engine;
  before(async () => {
    lab = new BuildLab();
    engine = new Engine({ root: lab.store.root, run: lab.store.run });
    await lab.importBase();
    lab.write({ 'a.txt': 'a', 'dir/b.txt': 'b', 'with space': 's', 'dir/c.md': 'c' });
  });
  after(() => lab[Symbol.dispose]());

  const base = image.from('base');
  const tool = base.run('echo tool > /tool').run(['chmod', '755', '/tool']);
  const cases: Record<string, { builder: ImageBuilder; dockerfile: string; buildArgs?: Record<string, string> }> = {
    commands: {
      builder: base.run(['echo', '$HOME', 'a "b" \\ c']).run('echo "$PATH" > /p; echo \'x y\''),
      dockerfile: 'FROM base\nRUN ["echo","$HOME","a \\"b\\" \\\\ c"]\nRUN echo "$PATH" > /p; echo \'x y\'\n',
    },
    'mounts and networks': {
      builder: base
        .run('ls /cache /t', {
          mounts: [
            { type: 'cache', target: '/cache', id: 'ab', mode: 0o750 },
            { type: 'tmpfs', target: '/t', size: 1 << 20 },
          ],
          network: 'none',
        })
        .run('cat /src/a.txt /tool', {
          mounts: [
            { type: 'bind', target: '/src' },
            { type: 'bind', target: '/tool', source: '/tool', from: tool },
          ],
        }),
      dockerfile: [
        'FROM base AS tool',
        'RUN echo tool > /tool',
        'RUN ["chmod", "755", "/tool"]',
        'FROM base',
        'RUN --network=none --mount=type=cache,target=/cache,id=ab,mode=750 --mount=type=tmpfs,target=/t,size=1m ls /cache /t',
        'RUN --mount=target=/src --mount=from=tool,target=/tool,source=/tool cat /src/a.txt /tool',
      ].join('\n'),
    },
    copies: {
      builder: base
        .copy('a.txt', '/x/')
        .copy(['dir/*', 'with space'], '/y z/', { chown: 'bob:staff', chmod: 0o640, exclude: ['**/*.md'] })
        .copy('/tool', '/usr/bin/tool', { from: tool, link: true })
        .copy('dir/b.txt', '/parents/', { parents: true })
        .copy('/etc/passwd', '/p', { from: 'base' })
        .add('a.txt', '/added')
        .file('/etc/motd', 'a $HOME "b"\n', { chown: 'bob' }),
      dockerfile: [
        'FROM base AS tool',
        'RUN echo tool > /tool',
        'RUN ["chmod", "755", "/tool"]',
        'FROM base',
        'COPY a.txt /x/',
        'COPY --chown=bob:staff --chmod=0640 --exclude=**/*.md ["dir/*", "with space", "/y z/"]',
        'COPY --from=tool --link /tool /usr/bin/tool',
        'COPY --parents dir/b.txt /parents/',
        'COPY --from=base /etc/passwd /p',
        'ADD a.txt /added',
        'COPY --chown=bob <<"motd" /etc/motd',
        'a $HOME "b"',
        'motd',
        '',
      ].join('\n'),
    },
    config: {
      builder: base
        .env({ A: 'x $B \'y\' "z" \\', EMPTY: '', C: 'two  spaces' })
        .label({ 'com.example/k': 'v w', other: '$A' })
        .workdir('/srv/my dir')
        .user('bob:staff')
        .expose(80, '53/udp', '8000-8002')
        .volume('/data', '/d 2')
        .shell(['/bin/sh', '-ec'])
        .entrypoint(['/bin/sh', '-c'])
        .cmd('echo "$A"')
        .stopSignal('SIGINT')
        .healthcheck(['true'], { interval: 30_000, timeout: 1500, retries: 3 }),
      dockerfile: [
        'FROM base',
        `ENV A='x $B '"'y'"' "z" \\' EMPTY="" C="two  spaces"`,
        `LABEL com.example/k="v w" other='$A'`,
        'WORKDIR /srv/my\\ dir',
        'USER bob:staff',
        'EXPOSE 80 53/udp 8000-8002',
        'VOLUME ["/data", "/d 2"]',
        'SHELL ["/bin/sh", "-ec"]',
        'ENTRYPOINT ["/bin/sh", "-c"]',
        'CMD echo "$A"',
        'STOPSIGNAL SIGINT',
        'HEALTHCHECK --interval=30s --timeout=1.5s --retries=3 CMD ["true"]',
      ].join('\n'),
    },
    'build arguments': {
      builder: base.arg('V', 'de$fault').arg('W').run('echo $V $W > /v'),
      dockerfile: "FROM base\nARG V='de$fault'\nARG W\nRUN echo $V $W > /v\n",
      buildArgs: { W: 'given' },
    },
    'nothing below': {
      builder: image.scratch().copy('a.txt', '/a'),
      dockerfile: 'FROM scratch\nCOPY a.txt /a\n',
    },
  };

  for (const [name, { builder, dockerfile, buildArgs }] of Object.entries(cases)) {
    it(name, async () => {
      const options = { context: lab.context, pull: 'never', ...(buildArgs && { buildArgs }) } as const;
      const first = await engine.build({ ...options, dockerfile });
      const events: BuildEvent[] = [];
      const second = await engine.build(builder, { ...options, onEvent: (event) => events.push(event) });
      const anew = events.flatMap((event) => (event.type === 'done' && !event.cached ? [event.step] : []));
      const names = events.flatMap((event) =>
        event.type === 'start' && anew.includes(event.step) ? [event.name] : [],
      );
      assert.deepEqual(
        names.filter((step) => !/FROM|exporting|internal/.test(step)),
        [],
        'all steps come from the cache',
      );
      assert.deepEqual(await engine.history(second.id), await engine.history(first.id));
      assert.equal(second.id, first.id);
    });
  }

  it('does a beginning that several images have in common once', async () => {
    const common = base.run('echo common > /common');
    const left = common.run('echo left > /left');
    const both = common.copy('/left', '/', { from: left }).run('cat /common /left');
    const events: BuildEvent[] = [];
    await engine.build(both, { pull: 'never', noCache: true, onEvent: (event) => events.push(event) });
    const ended = new Map(events.flatMap((event) => (event.type === 'done' ? [[event.step, event.cached]] : [])));
    const runs = events.flatMap((event) =>
      event.type === 'start' && event.name.includes('> /common') ? [ended.get(event.step)] : [],
    );
    assert.deepEqual(runs.sort(), [false, true]);
  });

  it('quotes what a mount says', async () => {
    const odd = 'a,b "c" $d';
    const script = base.run('echo x > /c/x', { mounts: [{ type: 'cache', target: '/c', id: odd }] });
    const built = await engine.build(script.run('cat /c/x', { mounts: [{ type: 'cache', target: '/c', id: odd }] }), {
      pull: 'never',
    });
    assert.ok(built.id);
  });

  it('is a value: each call gives a new one', async () => {
    const one = base.env({ A: '1' });
    const two = one.env({ B: '2' });
    assert.notEqual(one, two);
    const built = await engine.build(one, { pull: 'never', tags: ['one'] });
    assert.deepEqual(built.references, ['one:latest']);
    const { Config } = await engine.inspect('one');
    assert.equal(JSON.stringify(Config?.Env).includes('B='), false);
  });

  it('names the call that fails', async () => {
    const failing = base.run('true').workdir('/x').run('echo words; exit 3');
    await assert.rejects(engine.build(failing, { pull: 'never' }), (error) => {
      assert.ok(error instanceof BuildError);
      assert.equal(error.code, 'RUN_FAILED');
      assert.match(error.message, /^run #2: process .* exit code: 3/);
      assert.equal(error.output, 'words\n');
      return true;
    });
    const other = base.copy('/x', '/', { from: image.from('base').copy('nothere', '/') });
    await assert.rejects(
      engine.build(other, { pull: 'never', context: lab.context }),
      /^BuildError: copy #1 \(stage-0\): /,
    );
    const missing = image.from('nowhere/atall').run('true');
    await assert.rejects(
      engine.build(missing, { pull: 'never' }),
      /from: base image nowhere\/atall is not in the store/,
    );
    const mount = base.run('true', { mounts: [{ type: 'cache', target: '' }] });
    await assert.rejects(engine.build(mount, { pull: 'never' }), /run #1: /);
  });

  it('refuses wrong arguments at the call', () => {
    const wrong = [
      () => image.from(''),
      () => base.run(''),
      () => base.run([]),
      () => base.run(['a', 1 as unknown as string]),
      () => base.run('a\0b'),
      () => base.copy([], '/'),
      () => base.copy('a', ''),
      () => base.file('/dir/', 'x'),
      () => base.env({}),
      () => base.env({ 'A=B': 'c' }),
      () => base.env({ A: undefined as unknown as string }),
      () => base.arg('A=1'),
      () => base.volume(''),
      () => base.healthcheck('x', { interval: 0.1 }),
      () => base.healthcheck('x', { retries: -1 }),
    ];
    for (const call of wrong) assert.throws(call, (error) => isImagoError(error, 'BAD_ARGUMENT'), String(call));
  });

  it('refuses options of a wrong kind', async () => {
    const wrong = [
      { tags: 'x' },
      { buildArgs: ['A=1'] },
      { labels: { a: 1 } },
      { noCache: 'no' },
      { epoch: new Date('x') },
    ];
    for (const options of wrong) {
      await assert.rejects(engine.build({ dockerfile: 'FROM base', ...options } as never), { code: 'BAD_OPTION' });
      await assert.rejects(engine.build(base, options as never), { code: 'BAD_OPTION' });
    }
  });

  it('stops by its signal, and leaves no name', async () => {
    const stop = new AbortController();
    const built = engine.build(base.run('sleep 60'), {
      pull: 'never',
      tags: ['stopped'],
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === 'start' && event.name.includes('sleep')) setTimeout(() => stop.abort(), 300);
      },
    });
    await assert.rejects(built, (error) => isImagoError(error, 'ABORTED') || (error as Error).name === 'AbortError');
    await assert.rejects(engine.inspect('stopped'), { code: 'IMAGE_NOT_FOUND' });
  });

  it('tells of the first failure, and waits', async () => {
    const failed: FailedStep[] = [];
    let waited = false;
    const onFailure = async (step: FailedStep): Promise<void> => {
      failed.push(step);
      await new Promise((done) => setTimeout(done, 100));
      waited = true;
    };
    const bad = base.run('exit 4').copy('/x', '/', { from: base.run('exit 5') });
    await assert.rejects(engine.build(bad, { pull: 'never', onFailure }), () => waited);
    assert.equal(failed.length, 1);
    assert.match(failed[0]!.error.message, /exit code: [45]/);
  });
});
