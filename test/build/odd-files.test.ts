import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openContext } from '../../src/build/context/context.ts';
import { IgnoreMatcher } from '../../src/formats/dockerfile/ignore.ts';
import { BuildLab, whyNoRun } from './lab.ts';

const MAIN: string = join(import.meta.dirname, '../../src/cli/main.ts');
const COPY = 'FROM scratch\nCOPY . /';

describe('pipes and devices in the place of files', () => {
  const run = (lab: BuildLab, line: string): { status: number | null; stderr: string } =>
    spawnSync('bash', ['-c', `imago() { '${process.execPath}' '${MAIN}' --root '${lab.store.root}' "$@"; }; ${line}`], {
      cwd: lab.context,
      encoding: 'utf8',
      timeout: 20_000,
      env: { ...process.env, IMAGO_RUN: lab.store.run },
    });

  it('a .dockerignore that is no file is none', { timeout: 20_000 }, async () => {
    using lab = new BuildLab();
    const path = join(lab.context, '.dockerignore');
    for (const make of [
      () => mkdirSync(path),
      () => execFileSync('mkfifo', [path]),
      () => symlinkSync('.dockerignore', path),
    ]) {
      make();
      lab.write({ a: '1' });
      const { image } = await lab.build('', { file: { name: 'Dockerfile', text: COPY } });
      assert.ok(lab.paths(image).includes('a'));
      rmSync(path, { recursive: true });
    }
  });

  it('a Dockerfile from a pipe and from a device', () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    assert.equal(run(lab, `imago build -q -f <(sleep 0.2; printf '${COPY.replace('\n', '\\n')}') .`).status, 0);
    for (const line of ['imago build -f /dev/zero .', 'imago build -f - . < /dev/zero']) {
      const { status, stderr } = run(lab, line);
      assert.deepEqual([status, /cannot read the Dockerfile: .* too large/.test(stderr)], [1, true], stderr);
    }
  });

  it('waiting for a pipe ends with Ctrl-C', { timeout: 60_000 }, async () => {
    using lab = new BuildLab();
    execFileSync('mkfifo', [join(lab.context, 'pipe')]);
    for (const words of [
      ['-f', 'pipe'],
      ['--secret', 'id=s,src=pipe', '-f', '-'],
    ]) {
      const child = spawn(process.execPath, [MAIN, '--root', lab.store.root, 'build', ...words, '.'], {
        cwd: lab.context,
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      child.stdin.end('FROM scratch\n');
      const pipe = join(lab.context, 'pipe');
      while (child.exitCode === null && !hasOpen(child.pid!, pipe)) await sleep(20);
      assert.equal(child.exitCode, null);
      child.kill('SIGINT');
      assert.deepEqual(await once(child, 'close'), [130, null]);
    }
  });

  it('a secret from a pipe is there for each step', { skip: whyNoRun() }, async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const path = join(lab.directory, 'pipe');
    execFileSync('mkfifo', [path]);
    const writer = spawn('sh', ['-c', 'echo geheim > "$0"', path], { stdio: 'ignore' });
    const step = 'RUN --mount=type=secret,id=s cat /run/secrets/s';
    const { output } = await lab.build(`FROM base\n${step}\n${step} #`, { secrets: { s: { file: path } } });
    assert.equal(output, 'geheim\ngeheim\n');
    assert.equal(writer.exitCode ?? 0, 0);
    await assert.rejects(lab.build('FROM base', { secrets: { s: { file: '/dev/zero' } } }), /secret s is too big/);
  });
});

function hasOpen(pid: number, path: string): boolean {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).some((name) => {
    try {
      return readlinkSync(join(directory, name)) === path;
    } catch {
      // Closed meanwhile.
      return false;
    }
  });
}

describe('contexts that are hard to read', () => {
  it('a path that is longer than the system takes', async () => {
    using lab = new BuildLab();
    // Half of it below the other half: no call names the whole.
    const half = Array.from({ length: 15 }, () => 'd'.repeat(200)).join('/');
    for (const part of ['context', 'other']) mkdirSync(join(lab.directory, part, half), { recursive: true });
    renameSync(join(lab.directory, 'other'), join(lab.context, half, 'other'));
    await assert.rejects(lab.build(COPY), (error: Error) => {
      assert.match(error.message, /^cannot read the build context: ENAMETOOLONG \(d.*…d.*\): its path is longer/);
      return error.message.length < 600;
    });
    execFileSync('rm', ['-rf', lab.context]);
  });

  it('what vanishes while it is looked at is told as such', () => {
    using lab = new BuildLab();
    lab.write({ 'd/a': '', link: '->a' });
    const open = (name: string): { xattrs(): unknown; linkname: string } =>
      openContext(lab.context, new IgnoreMatcher([])).children().get(name)!;
    const [directory, link] = [open('d'), open('link')];
    rmSync(join(lab.context, 'd'), { recursive: true });
    unlinkSync(join(lab.context, 'link'));
    const gone = { code: 'CONTEXT_UNREADABLE', message: /ENOENT \(.*\): it changed while it was read/ };
    assert.throws(() => directory.xattrs(), gone);
    assert.throws(() => link.linkname, gone);
  });

  it("a symlink's target is the same for the layer and for its digest", () => {
    using lab = new BuildLab();
    lab.write({ link: '->one' });
    const link = openContext(lab.context, new IgnoreMatcher([])).children().get('link')!;
    assert.equal(link.linkname, 'one');
    lab.write({ link: '->two' });
    assert.equal(link.linkname, 'one');
  });

  it('a named context has the .dockerignore in it, and not the one of a Dockerfile', async () => {
    using lab = new BuildLab();
    lab.write({ 'n/.dockerignore': 'b', 'n/Dockerfile.dockerignore': 'a', 'n/a': '', 'n/b': '' });
    const contexts = { n: join(lab.context, 'n') };
    const { image } = await lab.build('FROM scratch\nCOPY --from=n . /', { contexts });
    assert.deepEqual(lab.paths(image), ['.dockerignore', 'Dockerfile.dockerignore', 'a']);
  });

  it('what is no URL', async () => {
    using lab = new BuildLab();
    const refused = { code: 'BAD_CONTEXT', message: /is no URL/ };
    await assert.rejects(lab.build('', { file: undefined, context: 'https://' }), refused);
    await assert.rejects(lab.build('FROM scratch\nCOPY --from=n . /', { contexts: { n: 'http://' } }), refused);
  });
});

describe('names that could be something else', () => {
  it('FROM a short name in hexadecimal is a name, not the start of an ID', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const { id } = await lab.build(COPY);
    const hex = id.slice('sha256:'.length);
    for (const count of [1, 3, 11]) {
      await assert.rejects(lab.build(`FROM ${hex.slice(0, count)}`), { code: 'IMAGE_NOT_FOUND' });
    }
    assert.deepEqual(lab.paths((await lab.build(`FROM ${hex.slice(0, 12)}`)).image), ['a']);
  });

  it('a stage named scratch is what FROM scratch means after it', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const { image } = await lab.build('FROM scratch AS scratch\nCOPY a /\nFROM scratch');
    assert.deepEqual(lab.paths(image), ['a']);
  });

  it('a variant that only the result has is in its config', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    await lab.build(COPY, { platform: 'linux/amd64', tags: ['plain'] });
    const built = async (platform: string): Promise<(string | undefined)[]> => {
      const { config } = (await lab.build('FROM plain\nENV a=b', { platform })).image;
      return [config.architecture, config.variant];
    };
    assert.deepEqual(await built('linux/amd64/v3'), ['amd64', 'v3']);
    assert.deepEqual(await built('linux/amd64'), ['amd64', undefined]);
  });

  it('--platform local is this machine', async () => {
    using lab = new BuildLab();
    lab.write({ a: '1' });
    const [local, own] = [await lab.build(COPY, { platform: 'local' }), await lab.build(COPY)];
    assert.equal(local.id, own.id);
  });

  it('WORKDIR where a file is', async () => {
    using lab = new BuildLab();
    writeFileSync(join(lab.context, 'a'), '');
    await assert.rejects(lab.build('FROM scratch\nCOPY a /a\nWORKDIR /a/b'), {
      code: 'NOT_A_DIRECTORY',
      message: /^\/a\/b cannot be the working directory/,
    });
  });
});
