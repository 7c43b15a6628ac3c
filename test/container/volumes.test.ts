import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Lab, skipContainers } from './lab.ts';

const skip = skipContainers();

describe('volumes', { skip: skip ?? false }, () => {
  let lab: Lab;
  before(async () => {
    lab = new Lab();
    await lab.image('box', { Cmd: ['sh'] });
    await lab.image('filled', { Cmd: ['sh'], Volumes: { '/data': {} } }, (root) => {
      mkdirSync(join(root, 'data/sub'), { recursive: true, mode: 0o750 });
      writeFileSync(join(root, 'data/file'), 'from the image', { mode: 0o640 });
      symlinkSync('../../../etc/passwd', join(root, 'data/link'));
      symlinkSync('/data', join(root, 'pointer'));
    });
  });
  after(() => lab[Symbol.dispose]());
  const imago = (...words: string[]): string => {
    const { status, stdout, stderr } = lab.imago(words);
    assert.equal(status, 0, `imago ${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const volumes = (): string[] => readdirSync(join(lab.store.root, 'volumes'));
  const anonymous = (): number => volumes().filter((name) => name.length === 64).length;

  test('a named volume is filled from the image once, and outlives its containers', () => {
    const script = 'cat /data/file; stat -c "%a %n" /data/file; readlink /data/link; echo changed > /data/file';
    assert.equal(
      imago('run', '--rm', '-v', 'mine:/data', 'filled', 'sh', '-c', script),
      'from the image640 /data/file\n../../../etc/passwd\n',
    );
    assert.equal(imago('run', '--rm', '-v', 'mine:/data', 'filled', 'cat', '/data/file'), 'changed\n');
    assert.equal(imago('run', '--rm', '-v', 'mine:/elsewhere:ro', 'box', 'cat', '/elsewhere/file'), 'changed\n');
    assert.ok(volumes().includes('mine'));
  });

  test('nocopy leaves it empty, and a symlink to its place is followed inside the image', () => {
    assert.equal(imago('run', '--rm', '-v', 'empty:/data:nocopy', 'filled', 'ls', '/data'), '');
    assert.equal(imago('run', '--rm', '-v', 'linked:/pointer', 'filled', 'cat', '/pointer/file'), 'from the image');
  });

  test("the image's VOLUME is an anonymous one: gone with --rm, kept by rm, removed by rm -v", async () => {
    imago('run', '--rm', 'filled', 'touch', '/data/x');
    await lab.until('its volume is removed', () => anonymous() === 0);
    imago('run', '--name', 'one', 'filled', 'touch', '/data/x');
    imago('rm', 'one');
    assert.equal(anonymous(), 1);
    imago('run', '--name', 'two', 'filled', 'touch', '/data/x');
    imago('rm', '-v', 'two');
    assert.equal(anonymous(), 1);
  });

  test('a container keeps its volume from start to start', () => {
    imago('run', '--name', 'again', 'filled', 'sh', '-c', 'echo . >> /data/count; wc -l < /data/count');
    imago('start', '-a', 'again');
    assert.equal(imago('logs', 'again'), '1\n2\n');
    imago('rm', '-v', 'again');
  });
});
