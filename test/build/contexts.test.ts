import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdirSync, readdirSync, utimesSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { saveImages } from '../../src/engine/save.ts';
import { BuildLab, type BuildRun } from './lab.ts';

const inside: BuildOptions = { file: undefined };
const main: string = join(import.meta.dirname, '../../src/cli/main.ts');

function stream(bytes: Uint8Array | string): AsyncIterable<Uint8Array> {
  const buffer = Buffer.from(bytes);
  // In small pieces, as a pipe gives them.
  return Readable.from(
    Array.from({ length: Math.ceil(buffer.length / 1000) }, (_, i) => buffer.subarray(i * 1000, i * 1000 + 1000)),
  );
}

function pack(lab: BuildLab, ...args: string[]): Buffer {
  return execFileSync('tar', ['-c', '--owner=7', '--group=8', ...args, '-C', lab.context, '.'], { maxBuffer: 1 << 28 });
}

const whatStays = (lab: BuildLab): string[] => readdirSync(join(lab.store.root, 'ingest'));

describe('a context from a stream', () => {
  const files = {
    Dockerfile: 'FROM scratch\nCOPY . /x/',
    'sub/other.df': 'FROM scratch\nCOPY a /only',
    a: 'one',
    'd/e/f': 'two',
    link: '->d/e',
    '.dockerignore': 'a',
  };
  const kinds: Record<string, (tar: Buffer) => Buffer> = {
    tar: (tar) => tar,
    gzip: (tar) => gzipSync(tar),
    zstd: (tar) => zstdCompressSync(tar),
    xz: (tar) => execFileSync('xz', ['-c'], { input: tar }),
    bzip2: (tar) => execFileSync('bzip2', ['-c'], { input: tar }),
  };
  for (const [kind, compress] of Object.entries(kinds)) {
    it(`a tar: ${kind}`, async () => {
      using lab = new BuildLab();
      lab.write(files);
      linkSync(join(lab.context, 'a'), join(lab.context, 'same'));
      const { image } = await lab.build('', { ...inside, context: stream(compress(pack(lab))) });
      assert.deepEqual(
        lab.list(image).filter((line) => !line.includes('.d')),
        [
          'd 0755 0:0 x',
          'f 0644 0:0 x/Dockerfile 23',
          'f 0644 0:0 x/a 3',
          'd 0755 0:0 x/d',
          'd 0755 0:0 x/d/e',
          'f 0644 0:0 x/d/e/f 3',
          'l 0777 0:0 x/link -> d/e',
          'f 0644 0:0 x/same 3',
          'd 0755 0:0 x/sub',
        ],
      );
      assert.equal(lab.read(image, 'x/link/f'), 'two');
      assert.deepEqual(whatStays(lab), []);
    });
  }
  it('with the Dockerfile at another place of it', async () => {
    using lab = new BuildLab();
    lab.write(files);
    const { image } = await lab.build('', { file: 'sub/other.df', context: stream(pack(lab)) });
    assert.deepEqual(lab.paths(image), ['only']);
  });
  it('with a Dockerfile from elsewhere', async () => {
    using lab = new BuildLab();
    lab.write(files);
    const { image } = await lab.build('FROM scratch\nCOPY d/e /', { context: stream(pack(lab)) });
    assert.deepEqual(lab.paths(image), ['f']);
  });
  it('a Dockerfile alone', async () => {
    using lab = new BuildLab();
    const { image } = await lab.build('', { ...inside, context: stream('FROM scratch\nLABEL a=b') });
    assert.deepEqual(image.config.config!.Labels, { a: 'b' });
    await assert.rejects(lab.build('', { ...inside, context: stream('FROM scratch\nCOPY a /') }), {
      code: 'COPY_SOURCE_NOT_FOUND',
      message: /the build context, which is empty/,
    });
  });
  it('a second build of the same files, packed anew at another time, is cached', async () => {
    using lab = new BuildLab();
    lab.write(files);
    await lab.build('', { ...inside, context: stream(pack(lab)) });
    utimesSync(join(lab.context, 'a'), 1, 1);
    const again = await lab.build('', { ...inside, context: stream(gzipSync(pack(lab))) });
    assert.deepEqual(again.cached, ['COPY . /x/']);
    lab.write({ a: 'other' });
    const changed = await lab.build('', { ...inside, context: stream(pack(lab)) });
    assert.deepEqual(changed.cached, []);
    assert.equal(lab.read(changed.image, 'x/a'), 'other');
  });
  it('a tar and a directory of the same files share the cache', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1', 'd/b': '2' });
    await lab.build('FROM scratch\nCOPY . /x/');
    const { cached } = await lab.build('FROM scratch\nCOPY . /x/', { context: stream(pack(lab)) });
    assert.deepEqual(cached, ['COPY . /x/']);
  });
  const bad: [name: string, make: (lab: BuildLab) => Uint8Array, options: BuildOptions, code: string][] = [
    ['a tar without a Dockerfile', (lab) => pack(lab, '--exclude=Dockerfile'), inside, 'NO_DOCKERFILE'],
    [
      'a Dockerfile that a link leads out to',
      (lab) => {
        lab.write({ Dockerfile: '->/etc/passwd' });
        return pack(lab);
      },
      inside,
      'NO_DOCKERFILE',
    ],
    ['a tar that was cut short', (lab) => pack(lab).subarray(0, 2600), inside, 'TAR_TRUNCATED'],
    ['gzip that was cut short', (lab) => gzipSync(pack(lab)).subarray(0, 300), inside, 'TRUNCATED_COMPRESSED'],
    ['gzip of what is no tar', () => gzipSync('FROM scratch'), inside, 'BAD_CONTEXT'],
    ['two Dockerfiles', () => Buffer.from('FROM scratch'), { file: { name: 'x', text: 'FROM scratch' } }, 'BAD_USAGE'],
    ['nothing', () => Buffer.alloc(0), inside, 'DOCKERFILE_ERROR'],
    [
      'names that mean deletions',
      (lab) => {
        lab.write({ 'd/.wh.x': '' });
        return pack(lab);
      },
      inside,
      'RESERVED_NAME',
    ],
  ];
  for (const [name, make, options, code] of bad) {
    it(`refuses ${name}`, async () => {
      using lab = new BuildLab();
      lab.write(files);
      await assert.rejects(lab.build('', { ...options, context: stream(make(lab)) }), { code });
      assert.deepEqual(whatStays(lab), []);
    });
  }
  it('names that climb do not leave the context', async () => {
    using lab = new BuildLab();
    lab.write(files);
    const tar = pack(lab, '--transform=s,^./a$,../../../a,', '-P');
    await assert.rejects(lab.build('', { ...inside, context: stream(tar) }), { code: 'PATH_TRAVERSAL' });
    assert.deepEqual(whatStays(lab), []);
  });
  it('imago build - takes a tar, -f - a Dockerfile, and not both', () => {
    using lab = new BuildLab();
    lab.write(files);
    const run = (input: Buffer | string, ...args: string[]): string => {
      const env = { ...process.env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run };
      const { stdout, stderr } = spawnSync(process.execPath, [main, 'build', '-q', ...args], {
        env,
        input,
        cwd: lab.context,
      });
      return `${stdout}${stderr}`;
    };
    assert.match(run(gzipSync(pack(lab)), '-'), /^sha256:[0-9a-f]{64}\n$/);
    assert.match(run(pack(lab), '-f', 'sub/other.df', '-'), /^sha256:[0-9a-f]{64}\n$/);
    assert.match(run('FROM scratch\nCOPY d /', '-f', '-', '.'), /^sha256:[0-9a-f]{64}\n$/);
    assert.match(run('FROM scratch', '-f', '-', '-'), /cannot be both/);
    assert.match(run('FROM scratch\nCOPPY a b', '-'), /Dockerfile:2\n/);
  });
});

describe('a context from a URL', () => {
  let lab: BuildLab;
  let server: Server;
  let base: string;
  const asked: string[] = [];
  before(async () => {
    lab = new BuildLab();
    lab.write({ Dockerfile: 'FROM scratch\nCOPY . /x/', a: 'one' });
    const answers: Record<string, Buffer> = {
      '/context.tar.gz': gzipSync(pack(lab)),
      '/Dockerfile': Buffer.from('FROM scratch\nLABEL from=http'),
      '/file': Buffer.from('a file'),
    };
    server = createHttpServer(({ url }, response) => {
      asked.push(url!);
      const path = url!.replace(/\?.*/, '');
      if (path === '/moved') return void response.writeHead(302, { Location: '/context.tar.gz' }).end();
      const body = answers[path];
      response.writeHead(body === undefined ? 404 : 200).end(body);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.close();
    lab[Symbol.dispose]();
  });

  for (const path of ['/context.tar.gz', '/moved']) {
    it(`a tar: ${path}`, async () => {
      const { image } = await lab.build('', { ...inside, context: `${base}${path}` });
      assert.deepEqual(lab.paths(image), ['x', 'x/Dockerfile', 'x/a']);
      assert.deepEqual(whatStays(lab), []);
    });
  }
  it('a Dockerfile', async () => {
    const { image } = await lab.build('', { ...inside, context: `${base}/Dockerfile` });
    assert.deepEqual(image.config.config!.Labels, { from: 'http' });
  });
  it('a Dockerfile beside a directory, and beside a tar', async () => {
    for (const context of [lab.context, `${base}/context.tar.gz`]) {
      const { image } = await lab.build('', { file: `${base}/Dockerfile?x=y`, context });
      assert.deepEqual(image.config.config!.Labels, { from: 'http' });
    }
    await assert.rejects(lab.build('', { file: `${base}/none` }), { code: 'REMOTE_STATUS' });
  });
  it('what is not there, without the secrets of its URL', async () => {
    const context = `${base.replace('//', '//user:pass@')}/no?token=hidden`;
    await assert.rejects(lab.build('', { ...inside, context }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'REMOTE_STATUS');
      assert.doesNotMatch(error.message, /pass|hidden/);
      return true;
    });
  });
  it('as a named context it is one file with its own name', async () => {
    const { image } = await lab.build('FROM scratch\nCOPY --from=remote /file /f', {
      contexts: { remote: `${base}/file` },
    });
    assert.equal(lab.read(image, 'f'), 'a file');
  });
  it('is not fetched where nothing needs it', async () => {
    asked.length = 0;
    const { events } = await lab.build('FROM scratch AS a\nCOPY --from=remote / /\nFROM scratch', {
      contexts: { remote: `${base}/file`, other: `${base}/file` },
    });
    assert.deepEqual(asked, []);
    const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
    assert.deepEqual(warnings, ['One or more build contexts [other] were not used']);
  });
});

const noGit = spawnSync('git', ['--version'], { stdio: 'ignore' }).status === 0 ? false : 'git is not installed';

describe('a context from git', { skip: noGit }, () => {
  let lab: BuildLab;
  let daemon: ChildProcess;
  let url: string;
  before(async () => {
    lab = new BuildLab();
    const repo = join(lab.directory, 'srv/repo');
    mkdirSync(repo, { recursive: true });
    lab.write(
      {
        Dockerfile: 'FROM scratch\nCOPY . /x/',
        a: 'one',
        'sub/Dockerfile': 'FROM scratch\nCOPY . /y/',
        'sub/b': 'two',
      },
      repo,
    );
    const env = {
      ...process.env,
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@b',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@b',
    };
    for (const args of [
      ['init', '-q', '-b', 'main'],
      ['add', '.'],
      ['commit', '-q', '-m', '1'],
    ])
      execFileSync('git', args, { cwd: repo, env });
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    daemon = spawn(
      'git',
      ['daemon', '--export-all', '--listen=127.0.0.1', `--port=${port}`, `--base-path=${join(lab.directory, 'srv')}`],
      { env, stdio: 'ignore', detached: true },
    );
    for (let i = 0; i < 200; i++) {
      const socket = connect(port, '127.0.0.1');
      const [open] = await Promise.race([
        once(socket, 'connect').then(() => [true]),
        once(socket, 'error').then(() => [false]),
      ]).catch(() => [false]);
      socket.destroy();
      if (open) break;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    url = `git://127.0.0.1:${port}/repo`;
  });
  after(async () => {
    process.kill(-daemon.pid!, 'SIGKILL');
    await once(daemon, 'close');
    lab[Symbol.dispose]();
  });

  it('the whole repository, without .git', async () => {
    const { image } = await lab.build('', { ...inside, context: url });
    assert.deepEqual(lab.paths(image), ['x', 'x/Dockerfile', 'x/a', 'x/sub', 'x/sub/Dockerfile', 'x/sub/b']);
    assert.deepEqual(whatStays(lab), []);
  });
  it('with .git where BUILDKIT_CONTEXT_KEEP_GIT_DIR asks for it', async () => {
    const { image } = await lab.build('', {
      ...inside,
      context: url,
      buildArgs: { BUILDKIT_CONTEXT_KEEP_GIT_DIR: '1' },
    });
    assert.ok(lab.paths(image).includes('x/.git/HEAD'));
  });
  it('a directory of it', async () => {
    const { image } = await lab.build('', { ...inside, context: `${url}#main:sub` });
    assert.deepEqual(lab.paths(image), ['y', 'y/Dockerfile', 'y/b']);
  });
  it('as a named context; a fresh clone is cached', async () => {
    const contexts = { src: `${url}#main` };
    const { image } = await lab.build('FROM scratch\nCOPY --from=src a /', { contexts });
    assert.deepEqual(lab.paths(image), ['a']);
    const again = await lab.build('FROM scratch\nCOPY --from=src a /', { contexts });
    assert.deepEqual(again.cached, ['COPY --from=src a /']);
  });
  it('a ref that is not there', async () => {
    await assert.rejects(lab.build('', { ...inside, context: `${url}#nosuch` }), { code: 'GIT_FAILED' });
    assert.deepEqual(whatStays(lab), []);
  });
});

describe('named contexts', () => {
  it('a directory, with a .dockerignore of its own', async () => {
    using lab = new BuildLab();
    const other = join(lab.directory, 'other');
    mkdirSync(other);
    lab.write({ a: '1', b: '2', '.dockerignore': 'b\n.dockerignore' }, other);
    lab.write({ b: 'main', '.dockerignore': 'a' });
    const { image } = await lab.build('FROM scratch\nCOPY --from=other . /o/\nCOPY b /', { contexts: { other } });
    assert.deepEqual(lab.paths(image), ['b', 'o', 'o/a']);
    await assert.rejects(lab.build('FROM scratch\nCOPY --from=other b /', { contexts: { other } }), {
      code: 'COPY_SOURCE_NOT_FOUND',
      message: /"\/?b":? not found in build context .*other/,
    });
  });
  it('a change in it is seen, and only a change', async () => {
    using lab = new BuildLab();
    const other = join(lab.directory, 'other');
    mkdirSync(other);
    lab.write({ a: '1' }, other);
    const build = (name = 'other') =>
      lab.build(`FROM scratch\nCOPY --from=${name} a /`, { contexts: { [name]: other } });
    await build();
    assert.equal((await build()).cached.length, 1);
    assert.equal((await build('renamed')).cached.length, 1);
    lab.write({ a: '2' }, other);
    const changed = await build();
    assert.equal(changed.cached.length, 0);
    assert.equal(lab.read(changed.image, 'a'), '2');
  });
  it('the same COPY from another context is another step', async () => {
    using lab = new BuildLab();
    for (const name of ['one', 'two']) {
      mkdirSync(join(lab.directory, name));
      lab.write({ a: name }, join(lab.directory, name));
    }
    const contexts = { one: join(lab.directory, 'one'), two: join(lab.directory, 'two') };
    const { image } = await lab.build(
      'FROM scratch AS x\nCOPY --from=one a /\nFROM scratch AS y\nCOPY --from=two a /\nFROM scratch\nCOPY --from=x a /1\nCOPY --from=y a /2',
      { contexts },
    );
    assert.equal(lab.read(image, '1'), 'one');
    assert.equal(lab.read(image, '2'), 'two');
  });
  it('a directory as a base', async () => {
    using lab = new BuildLab();
    const root = join(lab.directory, 'rootfs');
    mkdirSync(root);
    lab.write({ 'etc/x': '1' }, root);
    const { image } = await lab.build('FROM rootfs\nENV a=b\nCOPY --from=rootfs /etc/x /y', {
      contexts: { rootfs: root },
    });
    assert.deepEqual(lab.paths(image), ['etc', 'etc/x', 'y']);
    assert.equal(image.config.architecture, process.arch === 'x64' ? 'amd64' : process.arch);
  });
  it('wins over a stage of its name, whose steps are not done, and over an image', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const other = join(lab.directory, 'other');
    mkdirSync(other);
    lab.write({ o: '1' }, other);
    await lab.build('FROM scratch\nCOPY a /image', { tags: ['base:1', 'debian'] });
    const contexts = {
      deps: other,
      debian: 'docker-image://base:1',
      'docker.io/library/gone:latest': 'docker-image://scratch',
    };
    const dockerfile =
      'FROM nowhere AS deps\nCOPY missing /\nFROM debian\nCOPY --from=deps /o /\nFROM gone AS last\nCOPY --from=debian:latest /image /i\nCOPY --from=1 /o /o';
    const { image, done } = await lab.build(dockerfile, { contexts });
    assert.deepEqual(lab.paths(image), ['i', 'o']);
    assert.ok(!done.some((name) => name.includes('missing')));
  });
  it('docker-image: brings its triggers and its config', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    await lab.build('FROM scratch\nENV from=image\nONBUILD COPY a /triggered', { tags: ['real:2'] });
    const { image } = await lab.build('FROM placeholder', { contexts: { placeholder: 'docker-image://real:2' } });
    assert.deepEqual(lab.paths(image), ['triggered']);
    assert.ok(image.config.config!.Env!.includes('from=image'));
  });
  it('oci-layout: by directory, tag and digest; the store gets no name of it', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const { descriptor } = await lab.build('FROM scratch\nENV x=y\nONBUILD LABEL triggered=yes\nCOPY a /one', {
      tags: ['kept:v1'],
    });
    const layout = join(lab.directory, 'layout');
    await saveImages(lab.store, ['kept:v1'], { output: layout, format: 'oci-dir' });
    using fresh = new BuildLab();
    for (const suffix of ['', ':v1', `@${descriptor.digest}`]) {
      const { image, cached, done } = await fresh.build('FROM base AS b\nFROM b\nCOPY --from=base /one /two', {
        contexts: { base: `oci-layout://${layout}${suffix}` },
      });
      assert.deepEqual(fresh.paths(image), ['one', 'two'], suffix);
      assert.deepEqual(image.config.config!.Labels, { triggered: 'yes' });
      assert.ok(
        [...cached, ...done].some((name) => name.startsWith('load oci-layout') || name.includes('oci-layout')),
        `${done}`,
      );
    }
    assert.ok(![...fresh.store.listRefs()].some(({ reference }) => reference.includes('kept')));
    await assert.rejects(fresh.build('FROM base', { contexts: { base: `oci-layout://${layout}:v2` } }), {
      code: 'IMAGE_NOT_FOUND',
      line: 1,
    });
  });
  it('for one platform only', async () => {
    using lab = new BuildLab();
    for (const name of ['amd', 'arm']) {
      mkdirSync(join(lab.directory, name));
      lab.write({ which: name }, join(lab.directory, name));
    }
    const contexts = { src: join(lab.directory, 'amd'), 'src::linux/arm64': join(lab.directory, 'arm') };
    const { platforms } = await lab.build('FROM scratch\nCOPY --from=src which /', {
      contexts,
      platform: 'linux/amd64,linux/arm64',
    });
    assert.deepEqual(
      platforms.map(({ platform }) => platform.architecture),
      ['amd64', 'arm64'],
    );
    const { resolveImage } = await import('../../src/image/resolve.ts');
    for (const { platform, id } of platforms) {
      assert.equal(lab.read(resolveImage(lab.store, id), 'which'), platform.architecture.slice(0, 3));
    }
  });
  const bad: [name: string, value: string][] = [
    ['UPPER', '.'],
    ['scratch', '.'],
    ['x', ''],
    ['x', 'docker-image://UPPER'],
    ['x', 'target:y'],
    ['x', 'oci-layout://'],
  ];
  for (const [name, value] of bad) {
    it(`refuses ${name}=${value}`, async () => {
      using lab = new BuildLab();
      await assert.rejects(lab.build('FROM scratch', { contexts: { [name]: value } }), { code: 'BAD_BUILD_CONTEXT' });
    });
  }
  it('a directory that is not there is told by the step that needs it', async () => {
    using lab = new BuildLab();
    await assert.rejects(lab.build('FROM scratch\nCOPY --from=x a /', { contexts: { x: '/no/such' } }), {
      code: 'BAD_CONTEXT',
      line: 2,
    });
  });
  it('imago build --build-context', () => {
    using lab = new BuildLab();
    const other = join(lab.directory, 'other');
    mkdirSync(other);
    lab.write({ a: '1' }, other);
    lab.write({ Dockerfile: 'FROM scratch\nCOPY --from=o a /' });
    const env = { ...process.env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run };
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [main, 'build', '-q', ...args, lab.context], { env, encoding: 'utf8' });
    assert.match(run('--build-context', `o=${other}`).stdout, /^sha256:/);
    assert.match(run('--build-context', other).stderr, /invalid value of --build-context/);
  });
});

describe('strange files in a context', { skip: process.getuid?.() === 0 ? false : 'only root makes devices' }, () => {
  it('devices and FIFOs are copied, from a directory and from a tar alike', async () => {
    using lab = new BuildLab();
    execFileSync('mknod', [join(lab.context, 'null'), 'c', '1', '3']);
    execFileSync('mknod', [join(lab.context, 'disk'), 'b', '7', '300']);
    execFileSync('mkfifo', [join(lab.context, 'pipe')]);
    const want = ['b disk', 'c null', 'f pipe'];
    const shown = ({ image }: BuildRun): string[] => lab.list(image).map((line) => `${line[0]} ${line.split(' ')[3]}`);
    const fromDirectory = await lab.build('FROM scratch\nCOPY . /');
    const fromTar = await lab.build('FROM scratch\nCOPY . /', { context: stream(pack(lab)) });
    assert.deepEqual(shown(fromDirectory), want);
    assert.deepEqual(shown(fromTar), want);
    assert.deepEqual(fromTar.cached, ['COPY . /']);
  });
  it('a directory that a user may not read is told with its name', () => {
    using lab = new BuildLab();
    lab.write({ Dockerfile: 'FROM scratch\nCOPY . /', 'open/a': '1', 'closed/b': '2', secret: '3' });
    const env = {
      PATH: process.env.PATH,
      HOME: lab.directory,
      IMAGO_ROOT: join(lab.directory, 'r2'),
      IMAGO_RUN: join(lab.directory, 'run2'),
    };
    execFileSync('chown', ['-R', '65534:65534', lab.directory]);
    const build = (): string => {
      const { stdout, stderr } = spawnSync(process.execPath, [main, 'build', '-q', lab.context], {
        env,
        uid: 65534,
        gid: 65534,
        encoding: 'utf8',
      });
      return stdout + stderr;
    };
    execFileSync('chmod', ['000', join(lab.context, 'closed')]);
    assert.match(
      build(),
      /cannot read the build context: EACCES \(closed\): give read permission, or name the file in \.dockerignore\n$/,
    );
    execFileSync('chmod', ['755', join(lab.context, 'closed')]);
    execFileSync('chmod', ['000', join(lab.context, 'secret')]);
    assert.match(build(), /cannot read the build context: EACCES \(secret\)/);
    lab.write({ '.dockerignore': 'secret' });
    execFileSync('chmod', ['644', join(lab.context, '.dockerignore')]);
    assert.match(build(), /^sha256:/);
  });
});
