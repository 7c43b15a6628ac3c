import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { diffByName } from '../../src/engine/diff-container.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { readImageTree } from '../../src/image/tree.ts';
import { lookup } from '../../src/tree/lookup.ts';
import { Lab, skipContainers } from './lab.ts';

const skip = skipContainers();

describe('diff and commit', { skip: skip ?? false }, () => {
  let lab: Lab;
  before(async () => {
    lab = new Lab();
    await lab.image('box', { Cmd: ['sh'], Env: ['FROM=image'] }, (root) => {
      mkdirSync(join(root, 'data/old'), { recursive: true });
      for (const name of ['keep', 'change', 'delete', 'old/x']) writeFileSync(join(root, 'data', name), name);
      symlinkSync('keep', join(root, 'data/link'));
    });
    // Nothing that containers have mounted is there.
    await lab.image('bare', { Cmd: ['/bin/busybox', 'sh'] }, (root) => {
      for (const name of ['dev', 'proc', 'sys', 'etc']) rmSync(join(root, name), { recursive: true });
    });
  });
  after(() => lab[Symbol.dispose]());
  const imago = (...words: string[]): string => {
    const { status, stdout, stderr } = lab.imago(words);
    assert.equal(status, 0, `imago ${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const changes = (name: string): string[] => diffByName(lab.store, name).map(({ kind, path }) => `${kind} ${path}`);
  const CHANGE = 'cd /data; echo more >> change; rm delete; rm -r old; mkdir new; ln keep new/hard; chmod 600 link';

  test('diff tells what a container added, changed and deleted, and commit keeps it', () => {
    imago('run', '--name', 'work', '-e', 'GIVEN=too', 'box', 'sh', '-c', CHANGE);
    const told = [
      'C /data',
      'C /data/change',
      'D /data/delete',
      'C /data/keep',
      'A /data/new',
      'A /data/new/hard',
      'D /data/old',
    ];
    assert.deepEqual(changes('work'), told);

    const id = imago(
      'commit',
      '-m',
      'my work',
      '-a',
      'Ann',
      '-c',
      'CMD ["cat", "/data/change"]',
      'work',
      'saved:1',
    ).trim();
    const image = resolveImage(lab.store, 'saved:1');
    assert.equal(image.id, id);
    assert.equal(image.diffIds.length, 2);
    const { config, history, author } = image.config;
    assert.deepEqual(config?.Env, ['FROM=image', 'GIVEN=too']);
    assert.deepEqual([history?.at(-1)?.comment, author], ['my work', 'Ann']);
    const tree = readImageTree(lab.store, image);
    assert.equal(lookup(tree, 'data/delete'), undefined);
    assert.equal(lookup(tree, 'data/old'), undefined);
    assert.equal(lookup(tree, 'data/new/hard')?.size, 4);
    assert.equal(imago('run', '--rm', 'saved:1'), 'changemore\n');
    assert.equal(imago('run', '--rm', 'saved:1', 'ls', '/data'), 'change\nkeep\nlink\nnew\n');
    imago('rm', 'work');
  });

  test('a container that did nothing has no changes, also on an image without mount points', () => {
    for (const [name, words] of [
      ['idle', ['box', 'true']],
      ['idle-bare', ['bare', '/bin/busybox', 'true']],
    ] as const) {
      imago('run', '--name', name, ...words);
      assert.deepEqual(changes(name), []);
      imago('rm', name);
    }
  });

  test('without mount points in the image a container has all of them', () => {
    const script = 'ls -d /dev/null /proc/1 /sys/kernel; cat /etc/hostname; stat -c %a /etc /dev';
    const out = imago('run', '--rm', '--hostname', 'bare', 'bare', '/bin/busybox', 'sh', '-c', script);
    assert.equal(out, '/dev/null\n/proc/1\n/sys/kernel\nbare\n755\n755\n');
    imago('run', '--name', 'wrote', 'bare', '/bin/busybox', 'sh', '-c', 'echo x > /etc/own');
    assert.deepEqual(changes('wrote'), ['A /etc', 'A /etc/own']);
    imago('rm', 'wrote');
  });

  test('a running container can be committed, and goes on', async () => {
    const script = 'echo one > /one; echo ready; while :; do sleep 0.05; done';
    imago('run', '-d', '--name', 'live', 'box', 'sh', '-c', script);
    await lab.until('it wrote', () => lab.imago(['logs', 'live']).stdout === 'ready\n');
    assert.deepEqual(changes('live'), ['A /one']);
    imago('commit', 'live', 'from-live');
    assert.equal(imago('run', '--rm', 'from-live', 'cat', '/one'), 'one\n');
    assert.equal(imago('exec', 'live', 'echo', 'alive'), 'alive\n');
    imago('rm', '-f', 'live');
  });

  test('a container whose image lost its name can still be committed and started', () => {
    imago('tag', 'box', 'other');
    imago('run', '--name', 'based', 'other', 'touch', '/t');
    imago('rmi', 'other');
    imago('commit', 'based', 'again');
    imago('start', 'based');
    imago('wait', 'based');
    imago('rm', 'based');
  });

  test('bad changes and names are refused before anything is made', () => {
    imago('create', '--name', 'plain', 'box');
    assert.match(lab.imago(['commit', '-c', 'RUN true', 'plain']).stderr, /RUN is not a valid change command/);
    assert.match(lab.imago(['commit', 'plain', 'UPPER']).stderr, /UPPER/);
    imago('rm', 'plain');
  });
});
