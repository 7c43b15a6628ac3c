/** BuildKit's cases of archives, and of where a Dockerfile lies. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { BuildLab, type Files } from '../build/lab.ts';

/** Packs files into an archive of the context. */
function pack(lab: BuildLab, name: string, files: Files, flags: string[] = []): void {
  const directory = join(lab.directory, `packed-${name}`);
  mkdirSync(directory);
  lab.write(files, directory);
  const owner = ['--owner=0', '--group=0', '--numeric-owner'];
  execFileSync('tar', [...flags, ...owner, '-cf', join(lab.context, name), '-C', directory, ...Object.keys(files)]);
}

describe("BuildKit's cases of archives", () => {
  for (const [name, flags] of [
    ['t.tar', []],
    ['t.tar.gz', ['-z']],
  ] as [string, string[]][]) {
    it(`testDockerfileAddArchive: ${name}`, async () => {
      using lab = new BuildLab();
      pack(lab, name, { foo: 'x' }, flags);
      const bytes = readFileSync(join(lab.context, name)).length;
      const { image: added } = await lab.build(`FROM scratch\nADD ${name} /`);
      assert.deepEqual(lab.list(added), ['f 0644 0:0 foo 1']);
      for (const line of [`ADD --unpack=false ${name} /`, `COPY ${name} /`]) {
        const { image } = await lab.build(`FROM scratch\n${line}`);
        assert.deepEqual(lab.list(image), [`f 0644 0:0 ${name} ${bytes}`]);
      }
    });
  }

  it('testDockerfileAddArchiveWithImpliedParentDir', async () => {
    using lab = new BuildLab();
    pack(lab, 't.tar.gz', { 'etc/dnf/': '', 'etc/dnf/dnf.conf': 'x' }, ['-z', '--no-recursion']);
    const { image } = await lab.build('FROM scratch\nADD t.tar.gz /');
    assert.deepEqual(lab.paths(image), ['etc', 'etc/dnf', 'etc/dnf/dnf.conf']);
  });

  it('testDockerfileAddArchiveThroughAbsoluteSymlink', async () => {
    using lab = new BuildLab();
    pack(lab, 'root.tar', { 'run/': '', 'var/': '', 'var/run': '->/run' }, ['--no-recursion']);
    const head = 'var/run/a/HEAD';
    const directory = join(lab.directory, 'payload');
    lab.write({ [head]: 'x' }, directory);
    execFileSync('ln', [head, `${head}.link`], { cwd: directory });
    execFileSync('tar', ['--no-recursion', '-cf', join(lab.context, 'p.tar'), 'var/run/a', head, `${head}.link`], {
      cwd: directory,
    });
    const { image } = await lab.build('FROM scratch\nADD root.tar /\nADD p.tar /');
    assert.equal(lab.read(image, 'run/a/HEAD'), 'x');
    assert.equal(lab.read(image, 'run/a/HEAD.link'), 'x');
    assert.ok(lab.list(image).includes('l 0777 0:0 var/run -> /run'));
  });

  it('testDockerfileAddChownArchive', async () => {
    using lab = new BuildLab();
    pack(lab, 't.tar', { foo: 'x' });
    const { image } = await lab.build('FROM scratch\nADD --chown=100:200 t.tar /out/');
    assert.deepEqual(lab.list(image), ['d 0755 100:200 out', 'f 0644 100:200 out/foo 1']);
  });

  it('testDockerfileAddArchiveWildcard', async () => {
    using lab = new BuildLab();
    pack(lab, 'a.tar', { foo: '1' });
    pack(lab, 'b.tar', { bar: '2' });
    const { image } = await lab.build('FROM scratch\nADD *.tar /dest');
    assert.deepEqual([lab.read(image, 'dest/foo'), lab.read(image, 'dest/bar')], ['1', '2']);
  });
});

describe("BuildKit's cases of where a Dockerfile lies", () => {
  for (const [test, files] of [
    ['testDockerfileLowercase', { dockerfile: 'FROM scratch\nLABEL a=b' }],
    ['testSymlinkedDockerfile', { 'Dockerfile.web': 'FROM scratch\nLABEL a=b', Dockerfile: '->Dockerfile.web' }],
  ] as [string, Files][]) {
    it(test, async () => {
      using lab = new BuildLab();
      lab.write(files);
      const { image } = await lab.build('', { file: undefined });
      assert.deepEqual(image.config.config?.Labels, { a: 'b' });
    });
  }
});

describe("BuildKit's cases of platforms", () => {
  it('testGlobalArg', async () => {
    using lab = new BuildLab();
    await lab.build('FROM scratch\nLABEL a=b', { tags: ['some:there'] });
    const { image } = await lab.build('ARG tag=gone\nFROM some:${tag}', { buildArgs: { tag: 'there' } });
    assert.deepEqual(image.config.config?.Labels, { a: 'b' });
  });

  it('testPlatformArgsImplicit: a stage by the system it is for', async () => {
    using lab = new BuildLab();
    const { image } = await lab.build('FROM scratch AS build-linux\nLABEL a=b\nFROM build-${TARGETOS}\nLABEL c=d');
    assert.deepEqual(image.config.config?.Labels, { a: 'b', c: 'd' });
  });

  it('testPlatformArgsExplicit: an argument wins', async () => {
    using lab = new BuildLab();
    const dockerfile =
      'FROM --platform=$BUILDPLATFORM scratch\nARG TARGETPLATFORM\nARG TARGETOS\nLABEL p=$TARGETPLATFORM,$TARGETOS';
    const options = { platform: 'linux/ppc64le', buildArgs: { TARGETOS: 'freebsd' } };
    const { image } = await lab.build(dockerfile, options);
    assert.deepEqual(image.config.config?.Labels, { p: 'linux/ppc64le,freebsd' });
  });
});
