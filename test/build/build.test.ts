import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { BuildError } from '../../src/build/errors.ts';
import { readLayerEntries } from '../../src/store/layer-entries.ts';
import { layerFacts } from '../../src/store/layers.ts';
import { BuildLab, whyNoRun } from './lab.ts';

describe('config', () => {
  const cases: [name: string, lines: string, want: object][] = [
    ['ENV sees the environment before it', 'ENV a=1\nENV a=2 b=$a', { Env: [PATH(), 'a=2', 'b=1'] }],
    ['ENV replaces in place', 'ENV a=1 b=2\nENV a=3', { Env: [PATH(), 'a=3', 'b=2'] }],
    ['ENV by ARG', 'ARG v=x\nENV w="$v y"', { Env: [PATH(), 'w=x y'] }],
    ['ARG is not in the image', 'ARG v=x', { Env: [PATH()] }],
    ['LABEL', 'LABEL a=b "c d"="e $PATH"\nLABEL a=f', { Labels: { a: 'f', 'c d': `e ${PATH().slice(5)}` } }],
    ['CMD in shell form', 'CMD echo $HOME', { Cmd: ['/bin/sh', '-c', 'echo $HOME'] }],
    ['CMD in exec form', 'CMD ["echo", "$HOME"]', { Cmd: ['echo', '$HOME'] }],
    ['SHELL', 'SHELL ["/bin/bash", "-ec"]\nCMD x', { Cmd: ['/bin/bash', '-ec', 'x'], Shell: ['/bin/bash', '-ec'] }],
    ['ENTRYPOINT keeps a CMD of this stage', 'CMD ["a"]\nENTRYPOINT ["b"]', { Cmd: ['a'], Entrypoint: ['b'] }],
    [
      'ENTRYPOINT drops the CMD of the base',
      'CMD ["a"]\nFROM s\nENTRYPOINT ["b"]',
      { Cmd: undefined, Entrypoint: ['b'] },
    ],
    ['USER and STOPSIGNAL', 'ARG u=me\nUSER $u:5\nSTOPSIGNAL SIGUSR1', { User: 'me:5', StopSignal: 'SIGUSR1' }],
    [
      'EXPOSE',
      'ARG p="80 90/udp"\nEXPOSE $p 7000-7002',
      { ExposedPorts: { '7000/tcp': {}, '7001/tcp': {}, '7002/tcp': {}, '80/tcp': {}, '90/udp': {} } },
    ],
    ['VOLUME', 'VOLUME /a "/b"\nVOLUME ["/c d"]', { Volumes: { '/a': {}, '/b': {}, '/c d': {} } }],
    [
      'HEALTHCHECK',
      'HEALTHCHECK --interval=5s --retries=2 CMD x',
      { Healthcheck: { Test: ['CMD-SHELL', 'x'], Interval: 5e9, Retries: 2 } },
    ],
    ['ONBUILD is recorded', 'ONBUILD RUN x\nONBUILD COPY a b', { OnBuild: ['RUN x', 'COPY a b'] }],
    ['WORKDIR', 'WORKDIR /a\nWORKDIR b/../c', { WorkingDir: '/a/c' }],
    ['platform ARGs', 'ARG TARGETOS\nARG BUILDOS=x\nENV o=$TARGETOS b=$BUILDOS', { Env: [PATH(), 'o=linux', 'b=x'] }],
  ];
  for (const [name, lines, want] of cases) {
    it(name, async () => {
      using lab = new BuildLab();
      const { image } = await lab.build(`FROM scratch AS s\n${lines}`);
      const config = image.config.config as Record<string, unknown>;
      for (const [key, value] of Object.entries(want)) assert.deepEqual(config[key], value, key);
    });
  }

  it('history tells each step as Docker does', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const { image } = await lab.build(
      'FROM scratch\nARG v=1\nENV e=$v\nMAINTAINER me\nWORKDIR /w\nCOPY --chown=1:2 a $e/\nEXPOSE 80\nCMD ["x", "y"]\nHEALTHCHECK NONE',
    );
    assert.deepEqual(
      image.config.history!.map(({ created_by, empty_layer }) => [created_by, empty_layer === true]),
      [
        ['ARG v=1', true],
        ['ENV e=1', true],
        ['MAINTAINER me', true],
        ['WORKDIR /w', false],
        ['COPY --chown=1:2 a 1/', false],
        ['EXPOSE [80/tcp]', true],
        ['CMD ["x" "y"]', true],
        ['HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}', true],
      ],
    );
    assert.equal(image.config.author, 'me');
    assert.equal(image.diffIds.length, 2);
  });

  it('--label and names', async () => {
    using lab = new BuildLab();
    const { image, references } = await lab.build('FROM scratch\nLABEL a=1', {
      labels: { a: '2', b: '3' },
      tags: ['x', 'y:1'],
    });
    assert.deepEqual(image.config.config!.Labels, { a: '2', b: '3' });
    assert.deepEqual(references, ['x:latest', 'y:1']);
    assert.deepEqual(image.references, ['docker.io/library/x:latest', 'docker.io/library/y:1']);
  });

  it('an epoch gives the same image in another store at another time', async () => {
    const ids: string[] = [];
    for (const _ of [1, 2]) {
      using lab = new BuildLab();
      lab.write({ 'd/a': '1', b: '2' });
      execFileSync('touch', [
        '-d',
        '2001-02-03T04:05:06Z',
        ...['d/a', 'd', 'b'].map((name) => join(lab.context, name)),
      ]);
      const { id } = await lab.build('FROM scratch\nWORKDIR /w/x\nCOPY . y/z/\nCMD x', { epoch: new Date(1e12) });
      ids.push(id);
      await new Promise((resolve) => setTimeout(resolve, 1100));
    }
    assert.equal(ids[0], ids[1]);
  });
});

function PATH(): string {
  return 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
}

describe('stages', () => {
  it('only what the target needs is done', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const dockerfile =
      'FROM scratch AS unused\nCOPY missing /\nFROM scratch AS one\nCOPY a /one\nFROM one AS two\nCOPY a /two\nFROM nowhere AS late\nCOPY --from=two /two /';
    const { image, done } = await lab.build(dockerfile, { target: 'two' });
    assert.deepEqual(lab.paths(image), ['one', 'two']);
    assert.deepEqual(done, ['COPY a /one', 'COPY a /two', 'exporting to image']);
  });

  it('a stage inherits config, environment and ARGs', async () => {
    using lab = new BuildLab();
    const { image } = await lab.build('FROM scratch AS a\nARG x=1\nENV y=2\nUSER u\nFROM a\nENV z=$x$y');
    assert.deepEqual(image.config.config!.Env!.slice(1), ['y=2', 'z=12']);
    assert.equal(image.config.config!.User, 'u');
  });

  it('ARG before FROM', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const dockerfile = `ARG base=one\nARG v=\${base}!\nFROM scratch AS one\nFROM scratch AS two\nCOPY a /\nFROM $base\nARG v\nENV v=$v base=$base`;
    const first = await lab.build(dockerfile);
    assert.deepEqual(first.image.config.config!.Env!.slice(1), ['v=one!', 'base=']);
    const second = await lab.build(dockerfile, { buildArgs: { base: 'two' } });
    assert.equal(second.image.diffIds.length, 1);
  });

  it('copies from stages by name and number, and from images', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    await lab.build('FROM scratch\nCOPY a /from/image', { tags: ['other:1'] });
    const { image } = await lab.build(
      'FROM scratch AS One\nCOPY a /1\nFROM scratch\nCOPY a /2\nFROM scratch\nCOPY --from=one /1 /\nCOPY --from=1 /2 /\nCOPY --from=other:1 from/image /3',
    );
    assert.deepEqual(lab.paths(image), ['1', '2', '3']);
  });

  it('ONBUILD of an image and of a stage takes effect one level up', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    await lab.build('FROM scratch\nONBUILD COPY a /triggered', { tags: ['on'] });
    const { image, done } = await lab.build('FROM on AS x\nCOPY a /own\nFROM x');
    assert.deepEqual(lab.paths(image), ['own', 'triggered']);
    assert.deepEqual(done.slice(0, 3), ['FROM on', 'ONBUILD COPY a /triggered', 'COPY a /own']);
    assert.equal(image.config.config!.OnBuild, undefined);
  });
});

describe('layers of COPY and ADD', () => {
  it('imply nothing, and hold links, modes and whole seconds', async () => {
    using lab = new BuildLab();
    lab.write({ 'd/a': 'x', 'd/sub/c': '' });
    linkSync(join(lab.context, 'd/a'), join(lab.context, 'd/b'));
    chmodSync(join(lab.context, 'd/a'), 0o4711);
    const { image } = await lab.build('FROM scratch\nCOPY d /x/y/z');
    const facts = layerFacts(lab.store, image.diffIds[0]!);
    assert.deepEqual(facts.impliedDirs, []);
    const entries = readLayerEntries(lab.store, image.diffIds[0]!);
    assert.deepEqual(
      entries.map(({ path, type, linkname }) => `${type} ${path} ${linkname}`.trim()),
      [
        'directory x/',
        'directory x/y/',
        'directory x/y/z/',
        'file x/y/z/a',
        'hardlink x/y/z/b x/y/z/a',
        'directory x/y/z/sub/',
        'file x/y/z/sub/c',
      ],
    );
    assert.ok(entries.every(({ mtime }) => mtime.nsec === 0));
    assert.equal(entries[3]!.mode, 0o4711);
  });

  it('a COPY that finds nothing makes no layer', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const { image } = await lab.build('FROM scratch\nCOPY *.none /x/\nCOPY a /\nWORKDIR /\nWORKDIR /w\nWORKDIR /w');
    assert.equal(image.diffIds.length, 2);
    assert.deepEqual(lab.paths(image), ['a', 'w']);
  });

  it('large files, and files that end at a block or a chunk', async () => {
    using lab = new BuildLab();
    const sizes = [0, 1, 511, 512, 513, 1048576 - 512, 1048576 - 1024, 1048576, 1048577, 3_000_001];
    for (const size of sizes) writeFileSync(join(lab.context, `f${size}`), Buffer.alloc(size, String(size)));
    const { image } = await lab.build('FROM scratch\nCOPY . /');
    for (const size of sizes)
      assert.equal(lab.read(image, `f${size}`), Buffer.alloc(size, String(size)).toString(), `${size}`);
  });

  it('names in any encoding', async () => {
    using lab = new BuildLab();
    const names = [Buffer.from('é'), Buffer.from([0xff, 0xfe]), Buffer.from('new\nline'), Buffer.from('a'.repeat(255))];
    for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${lab.context}/`), name]), name);
    mkdirSync(Buffer.concat([Buffer.from(`${lab.context}/d`), Buffer.from([0xe9])]));
    writeFileSync(Buffer.concat([Buffer.from(`${lab.context}/d`), Buffer.from([0xe9]), Buffer.from('/x')]), '');
    const { image } = await lab.build('FROM scratch\nCOPY . /');
    const want = [...names.map((name) => name.toString('latin1')), 'd\xe9', 'd\xe9/x'].sort();
    assert.deepEqual(
      lab
        .list(image)
        .map((line) => line.replace(/^\S+ \S+ \S+ /, '').replace(/ \d+$/, ''))
        .sort(),
      want,
    );
    const one = await lab.build('FROM scratch\nCOPY é /x/');
    assert.deepEqual(lab.paths(one.image), ['x', 'x/Ã©']);
  });

  it('takes FIFOs, and sockets as empty files', async (t) => {
    using lab = new BuildLab();
    const server = createServer().listen(join(lab.context, 'socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    t.after(() => server.close());
    execFileSync('mkfifo', [join(lab.context, 'pipe')]);
    symlinkSync('loop', join(lab.context, 'loop'));
    symlinkSync('/nowhere', join(lab.context, 'broken'));
    const { image } = await lab.build('FROM scratch\nCOPY . /');
    assert.deepEqual(
      lab.list(image).map((line) => `${line[0]} ${line.split(' ')[3]}`),
      ['l broken', 'l loop', 'f pipe', 'f socket'],
    );
  });

  for (const [kind, pack] of Object.entries({
    tar: (tar: Buffer) => tar,
    gzip: gzipSync,
    zstd: zstdCompressSync,
    bzip2: (tar: Buffer) => execFileSync('bzip2', ['-c'], { input: tar }),
    xz: (tar: Buffer) => execFileSync('xz', ['-c'], { input: tar }),
  })) {
    it(`ADD unpacks ${kind}, whatever its name`, async () => {
      using lab = new BuildLab();
      lab.write({ 'p/d/one': '1', 'p/d/link': '->one', 'p/top': 'x'.repeat(5000) }, lab.directory);
      linkSync(join(lab.directory, 'p/d/one'), join(lab.directory, 'p/d/same'));
      const tar = execFileSync('tar', ['-c', '--owner=3', '--group=4', '-C', join(lab.directory, 'p'), '.']);
      writeFileSync(join(lab.context, 'archive.bin'), pack(tar));
      const { image } = await lab.build('FROM scratch\nADD archive.bin /new/dir\nCOPY archive.bin /kept');
      assert.deepEqual(
        lab.list(image).filter((line) => !line.includes(' kept ')),
        [
          'd 0755 0:0 new',
          'd 0755 0:0 new/dir',
          'd 0755 3:4 new/dir/d',
          'l 0777 3:4 new/dir/d/link -> one',
          'f 0644 3:4 new/dir/d/one 1',
          'f 0644 3:4 new/dir/d/same 1',
          'f 0644 3:4 new/dir/top 5000',
        ],
      );
      assert.equal(lab.read(image, 'new/dir/top'), 'x'.repeat(5000));
      const owned = await lab.build('FROM scratch\nADD --chown=7:8 archive.bin /');
      assert.ok(lab.list(owned.image).every((line) => line.includes(' 7:8 ')));
    });
  }

  it('ADD copies what is no archive, and archives if told to', async () => {
    using lab = new BuildLab();
    lab.write({ 'x.tar.gz': 'not an archive', 'y.tar': 'y'.repeat(600) });
    writeFileSync(join(lab.context, 'text.gz'), gzipSync('text'));
    writeFileSync(join(lab.context, 'real.tar'), execFileSync('tar', ['-c', '-C', lab.context, 'y.tar']));
    const { image } = await lab.build('FROM scratch\nADD x.tar.gz y.tar text.gz /a/\nADD --unpack=false real.tar /b/');
    assert.deepEqual(lab.paths(image), ['a', 'a/text.gz', 'a/x.tar.gz', 'a/y.tar', 'b', 'b/real.tar']);
  });
});

describe('errors', () => {
  const cases: [name: string, dockerfile: string, code: string, message: RegExp, line: number][] = [
    [
      'a missing source',
      'FROM scratch\nCOPY nothing /',
      'COPY_SOURCE_NOT_FOUND',
      /"\/nothing": not found in the build context: check the path/,
      2,
    ],
    [
      'an ignored source',
      'FROM scratch\nCOPY x.log /',
      'COPY_SOURCE_NOT_FOUND',
      /"\/x\.log": not found.*\.dockerignore/,
      2,
    ],
    [
      'a missing source in a stage',
      'FROM scratch AS s\nFROM scratch\nCOPY --from=s /x /',
      'COPY_SOURCE_NOT_FOUND',
      /"\/x": not found in stage s/,
      3,
    ],
    [
      'a missing image',
      'FROM scratch\nCOPY --from=nowhere:1 /x /',
      'IMAGE_NOT_FOUND',
      /nowhere:1 is not in the store/,
      2,
    ],
    ['a missing base', '\nFROM nowhere', 'IMAGE_NOT_FOUND', /base image nowhere is not in the store: 'imago pull'/, 2],
    [
      'several files to one',
      'FROM scratch\nCOPY a b /x',
      'NOT_A_DIRECTORY',
      /destination must be a directory and end with a \//,
      2,
    ],
    ['a wildcard to one', 'FROM scratch\nCOPY [ab] /x', 'NOT_A_DIRECTORY', /more than one source file/, 2],
    ['a directory over a file', 'FROM scratch\nCOPY a /x\nCOPY d /x', 'NOT_A_DIRECTORY', /cannot copy to \/x/, 3],
    ['a directory over a link', 'FROM scratch\nCOPY l /\nCOPY m /', 'NOT_A_DIRECTORY', /cannot copy to \/lib/, 3],
    [
      'a file over a directory',
      'FROM scratch\nCOPY d /x/a\nCOPY a /x/',
      'IS_A_DIRECTORY',
      /cannot replace the directory \/x\/a/,
      3,
    ],
    ['below a file', 'FROM scratch\nCOPY a /x\nCOPY a /x/y', 'NOT_A_DIRECTORY', /cannot copy to \/x/, 3],
    [
      'an unknown owner',
      'FROM scratch\nCOPY --chown=bob a /',
      'UNKNOWN_USER',
      /unable to find user bob in the image's \/etc\/passwd/,
      2,
    ],
    ['a bad mode', 'FROM scratch\nCOPY --chmod=9 a /', 'BAD_CHMOD', /invalid chmod parameter: '9'/, 2],
    ['a URL for COPY', 'FROM scratch\nCOPY https://x/y /', 'BAD_SOURCE', /source can't be a URL for COPY/, 2],
    [
      'a URL for ADD',
      'FROM scratch\nADD http://127.0.0.1:1/y /',
      'REMOTE_UNREACHABLE',
      /127\.0\.0\.1:1\/y: cannot be/,
      2,
    ],
    ['a bad variable', `FROM scratch\nENV a="\${b:?is wanted}"`, 'BAD_SUBSTITUTION', /b: is wanted/, 2],
    ['a bad port', 'FROM scratch\nEXPOSE 70000', 'BAD_PORT', /invalid containerPort: 70000/, 2],
    ['a bad signal', 'FROM scratch\nSTOPSIGNAL SIGNOPE', 'BAD_SIGNAL', /Invalid signal: SIGNOPE/, 2],
    ['a reserved name', 'FROM scratch\nCOPY wh /', 'RESERVED_NAME', /cannot hold a file named '\.wh\.x'/, 2],
  ];
  for (const [name, dockerfile, code, message, line] of cases) {
    it(name, async () => {
      using lab = new BuildLab();
      lab.write({
        a: '1',
        b: '2',
        'd/x': '',
        '.dockerignore': '*.log',
        'x.log': '',
        'l/lib': '->usr',
        'm/lib/y': '',
        'wh/.wh.x': '',
      });
      await assert.rejects(lab.build(dockerfile), (error) => {
        assert.ok(error instanceof BuildError, String(error));
        assert.deepEqual([error.code, error.line], [code, line]);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
      assert.deepEqual(readdirSync(join(lab.store.root, 'leases')), []);
      assert.deepEqual(lab.store.listRefs(), []);
    });
  }

  const early: [name: string, dockerfile: string, options: object, message: RegExp][] = [
    [
      'an unknown target',
      'FROM scratch AS build\nFROM scratch',
      { target: 'biuld' },
      /"biuld" could not be found: did you mean build\?/,
    ],
    [
      'a later stage',
      'FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b',
      {},
      /line 2: cannot copy from stage "b", it needs to be defined before current stage "a"/,
    ],
    ['its own stage', 'FROM scratch AS a\nCOPY --from=a x /', {}, /line 2: cannot copy from stage "a"/],
    ['a stage number', 'FROM scratch\nCOPY --from=3 x /', {}, /line 2: invalid stage index 3/],
    [
      'a variable in --from',
      'FROM scratch\nCOPY --from=$x x /',
      {},
      /line 2: variable expansion is not supported for --from/,
    ],
    ['an empty base', 'ARG b\nFROM $b', {}, /line 2: base name \(\$b\) should not be blank/],
    ['a bad name', 'FROM scratch', { tags: ['UPPER'] }, /must be lowercase/],
    ['no context', 'FROM scratch', { context: '/nowhere/at/all' }, /no such build context/],
    [
      'no Dockerfile',
      'FROM scratch',
      { file: undefined },
      /cannot read the Dockerfile: there is none \(.*Dockerfile\): name it with -f/,
    ],
    ['a bad ignore pattern', 'FROM scratch', {}, /ignore pattern "\[": syntax error/],
  ];
  for (const [name, dockerfile, options, message] of early) {
    it(name, async () => {
      using lab = new BuildLab();
      if (name.includes('ignore')) lab.write({ '.dockerignore': '[' });
      await assert.rejects(lab.build(dockerfile, options), message);
    });
  }

  it('an unused build arg is only a warning', async () => {
    using lab = new BuildLab();
    const { events } = await lab.build('FROM scratch', { buildArgs: { what: '1', http_proxy: 'x' } });
    assert.deepEqual(events[0], {
      type: 'warning',
      text: 'One or more build-args [what] were not consumed',
      line: undefined,
    });
  });

  it('NAME.dockerignore wins', async () => {
    using lab = new BuildLab();
    lab.write({
      'x/my.df': 'FROM scratch\nCOPY . /',
      'x/my.df.dockerignore': 'x\na',
      '.dockerignore': 'b',
      a: '',
      b: '',
    });
    const { image } = await lab.build('', { file: join(lab.context, 'x/my.df') });
    assert.deepEqual(lab.paths(image), ['.dockerignore', 'b']);
  });

  it('without a context there is nothing to copy', async () => {
    using lab = new BuildLab();
    await assert.rejects(
      lab.build('FROM scratch\nCOPY a /', { context: undefined }),
      /not found in the build context, which is empty/,
    );
    const { image } = await lab.build('FROM scratch\nCOPY <<e /a\nx\ne', { context: undefined });
    assert.equal(lab.read(image, 'a'), 'x\n');
  });
});

describe('RUN', { skip: whyNoRun() }, () => {
  it('sees what is below, in its environment, and leaves what it changed', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ a: 'from context', gone: '', 'dir/x': '' });
    const { image, output } = await lab.build(
      [
        'FROM base',
        'ARG v=arg',
        'ENV e=env',
        'WORKDIR /w',
        'COPY . .',
        'RUN echo "$v $e $(pwd) $(id -u)" && cat a && echo changed > a && rm gone && rm -r dir && mkdir new && ln a new/hard && ln -s a soft',
        'USER bob',
        'RUN id -u && touch /tmp/mine 2>/dev/null || echo no',
      ].join('\n'),
    );
    assert.equal(output, 'arg env /w 0\nfrom context1000\nno\n');
    const list = lab.list(image).filter((line) => / w(\/|$)/.test(line));
    assert.deepEqual(
      list.map((line) => line.split(' ').slice(3).join(' ')),
      ['w', 'w/a 8', 'w/new', 'w/new/hard 8', 'w/soft -> a'],
    );
    assert.equal(lab.read(image, 'w/new/hard'), 'changed\n');
  });

  it('makes no layer where nothing changed', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { image } = await lab.build('FROM base\nRUN true');
    assert.equal(image.diffIds.length, 1);
    assert.equal(image.config.history!.at(-1)!.empty_layer, true);
    assert.equal(image.config.history!.at(-1)!.created_by, 'RUN /bin/sh -c true');
  });

  it('heredocs: a script, and input of a command', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { output } = await lab.build(
      'FROM base\nRUN <<E\necho one\necho "$PWD"\nE\nRUN cat <<A - && cat <<-B\n1\nA\n\t2\nB\n',
    );
    assert.equal(output, 'one\n/\n1\n2\n');
  });

  it('a heredoc with an interpreter line is run as a file that leaves no trace', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { image, output } = await lab.build('FROM base\nUSER bob\nRUN <<E\n#!/bin/cat\nhello\nE');
    assert.equal(output, '#!/bin/cat\nhello\n');
    assert.equal(image.diffIds.length, 1);
  });

  it('a failing one: its output, its status, and where it stands', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    await assert.rejects(lab.build('FROM base\n\nRUN echo before >&2 && \\\n  exit 7'), (error) => {
      assert.ok(error instanceof BuildError);
      assert.equal(
        error.message,
        'process "/bin/sh -c echo before >&2 &&   exit 7" did not complete successfully: exit code: 7',
      );
      assert.deepEqual(
        [error.code, error.line, error.endLine, error.output, error.details.exitCode],
        ['RUN_FAILED', 3, 4, 'before\n', 1],
      );
      return true;
    });
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    // Nothing is remembered of a failed step.
    await assert.rejects(lab.build('FROM base\n\nRUN echo before >&2 && \\\n  exit 7'), /exit code: 7/);
  });

  it('an unknown command and an unknown user', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    await assert.rejects(lab.build('FROM base\nRUN ["nothing"]'), { code: 'COMMAND_NOT_FOUND', line: 2 });
    await assert.rejects(lab.build('FROM base\nUSER ghost\nRUN true'), { code: 'UNKNOWN_USER', line: 3 });
  });

  it("names of --chown and WORKDIR are the image's", async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ a: '' });
    const { image } = await lab.build(
      'FROM base\nCOPY --chown=bob:staff a /1\nCOPY --chown=bob a /2\nUSER bob\nWORKDIR /home/bob/w',
    );
    const owners = lab
      .list(image)
      .filter((line) => /1000/.test(line))
      .map((line) => line.split(' ').slice(2, 4).join(' '));
    assert.deepEqual(owners, [
      '1000:50 1',
      '1000:1001 2',
      '1000:1001 home',
      '1000:1001 home/bob',
      '1000:1001 home/bob/w',
    ]);
  });

  it('stops at an abort, and leaves nothing', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const stop = new AbortController();
    const build = lab.build('FROM base\nRUN echo started && sleep 60', {
      signal: stop.signal,
      onEvent: (event) => event.type === 'output' && stop.abort(),
    });
    await assert.rejects(build);
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    assert.deepEqual(readdirSync(join(lab.store.root, 'leases')), []);
    assert.equal((await lab.build('FROM base\nRUN echo next')).output, 'next\n');
  });

  it('a removed layer directory below does not matter to a step on other layers', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ a: '1' });
    const first = await lab.build('FROM base\nCOPY a /\nRUN cat a');
    rmSync(lab.store.layerDirectory(first.image.diffIds[1]!), { recursive: true });
    const second = await lab.build('FROM base\nRUN echo fine');
    assert.equal(second.output, 'fine\n');
  });
});
