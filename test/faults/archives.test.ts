import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Arena } from './arena.ts';
import { needsTools, packSample } from './samples.ts';

let arena: Arena;
let tar: Buffer;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  tar = readFileSync(arena.path('sample.tar'));
});
after(() => arena.finish());

/** As a file and as a stream, which are read in different ways. */
function refuseImport(name: string, bytes: Uint8Array, says: RegExp): void {
  const path = arena.write(name, bytes);
  arena.refuses(['import', path, 'bad'], { says });
  arena.refuses(['import', '-', 'bad'], { input: bytes, says });
}

const AGAIN = 'the archive is damaged, or was cut short: get it again from where it came\n$';

describe('a damaged tar', () => {
  const flip = (at: number): Buffer => {
    const bytes = Buffer.from(tar);
    bytes[at]! ^= 0xff;
    return bytes;
  };
  const cases: [name: string, make: () => Uint8Array, says: RegExp][] = [
    ['empty', () => new Uint8Array(), /the layer is empty: not even the end mark of a tar/],
    [
      'cut in the first header',
      () => tar.subarray(0, 100),
      new RegExp(`tar ends inside a member.*offset 100\\): ${AGAIN}`),
    ],
    ['cut in the data', () => tar.subarray(0, tar.length / 2), new RegExp(`tar ends inside a member.*: ${AGAIN}`)],
    [
      'a header that was changed',
      () => flip(2048 + 20),
      new RegExp(`corrupted tar header: wanted checksum .*: ${AGAIN}`),
    ],
    [
      'a web page',
      () => Buffer.from('<html>404</html>'.repeat(100)),
      /not a tar archive: .*: give a tar, as it is or compressed/,
    ],
    ['noise', () => Buffer.alloc(5000, 0xa5), /not a tar archive/],
  ];
  for (const [name, make, says] of cases) test(name, () => refuseImport('bad.tar', make(), says));
});

describe('damaged compression', () => {
  const tools: [tool: string, suffix: string][] = [
    ['gzip', 'gz'],
    ['zstd', 'zst'],
    ['bzip2', 'bz2'],
    ['xz', 'xz'],
  ];
  for (const [tool, suffix] of tools) {
    test(tool, { skip: needsTools(tool) ?? false }, async () => {
      const { stdout } = spawnSync(tool, ['-c', arena.path('sample.tar')], { maxBuffer: 64 * 2 ** 20 });
      const changed = Buffer.from(stdout);
      changed[changed.length >> 1]! ^= 0xff;
      const says = new RegExp(
        `^imago: the ${tool} data (?:is damaged|ends too early).*: get the archive again from where it came\n$`,
      );
      refuseImport(`bad.${suffix}`, stdout.subarray(0, stdout.length / 2), says);
      refuseImport(`bad.${suffix}`, stdout.subarray(0, 12), says);
      if (tool !== 'bzip2') refuseImport(`bad.${suffix}`, changed, says);
      // bzip2 gives out what it has before it has checked it: the tar reader may be first to see the damage.
      const damage = tool === 'bzip2' ? /^imago: the bzip2 data is damaged|^imago: (?:not a tar|corrupted tar)/ : says;
      arena.refuses(['load', '-i', arena.write(`bad.${suffix}`, changed)], { says: damage });
      arena.refuses(['load'], { input: stdout.subarray(0, stdout.length - 5), says });
    });
  }

  test('something else behind the end of a gzip', async () => {
    const { stdout } = spawnSync('gzip', ['-c', arena.path('sample.tar')], { maxBuffer: 64 * 2 ** 20 });
    refuseImport('bad.gz', Buffer.concat([stdout, Buffer.from('more')]), /the gzip data is damaged/);
  });
});

describe('a hostile tar', { skip: needsTools('python3') ?? false }, () => {
  const NOTHING_TAKEN = 'the layer is damaged or hostile; nothing was taken from it\n$';
  const cases: [name: string, says: string][] = [
    ['dotdot', 'name with "\\.\\." in a layer \\(\\.\\./evil, offset 0\\)'],
    ['dotdot-inside', 'name with "\\.\\." in a layer \\(a/\\.\\./\\.\\./evil, offset 512\\)'],
    ['absolute', 'absolute name in a layer \\(/etc/evil, offset 0\\)'],
    ['symlink-then-file', 'entry below a file or symlink of the same layer \\(a, offset 512\\)'],
    ['symlink-up-then-file', 'entry below a file or symlink of the same layer'],
    ['symlink-as-parent-of-directory', 'entry below a file or symlink of the same layer'],
    ['hardlink-outside', 'name with "\\.\\." in a layer \\(\\.\\./\\.\\./etc/passwd, offset 0\\)'],
    ['hardlink-to-itself', 'hardlink to itself \\(a, offset 0\\)'],
    ['hardlink-to-directory', 'hardlink to a directory \\(a, offset 512\\)'],
    ['hardlinks-in-a-circle', 'hardlinks that name each other \\(a\\)'],
    ['own-parent', 'entry below a file or symlink of the same layer \\(a, offset 1024\\)'],
    ['own-parent-by-hardlink', 'hardlink to a directory \\(a/b, offset 512\\)'],
    ['name-of-300-bytes', 'name in a layer longer than 255 bytes: got 300'],
    ['path-of-5000-bytes', 'path in a layer longer than 4095 bytes'],
    ['root-is-a-file', 'the root of a layer must be a directory'],
    ['name-is-empty', 'the root of a layer must be a directory'],
    ['symlink-to-nothing', 'symlink without a proper target \\(a, offset 0\\)'],
    ['symlink-of-5000-bytes', 'symlink target too long: got 5000 \\(a, offset 0\\)'],
    ['whiteout-of-parent', 'whiteout that does not name an entry'],
    ['whiteout-of-itself', 'whiteout that does not name an entry'],
    ['whiteout-of-nothing', 'whiteout that does not name an entry'],
    ['below-a-whiteout', 'entry below a whiteout \\(\\.wh\\.a/b, offset 512\\)'],
    ['control-characters', 'entry below a file or symlink of the same layer'],
  ];
  before(() => {
    mkdirSync(arena.path('hostile'));
    const { status, stderr } = spawnSync('python3', [join(import.meta.dirname, 'archives.py'), arena.path('hostile')]);
    assert.equal(status, 0, String(stderr));
  });
  for (const [name, says] of cases) {
    test(name.replaceAll('-', ' '), () =>
      arena.refuses(['import', `hostile/${name}.tar`, 'bad'], {
        says: new RegExp(`^imago: ${says}.*: ${NOTHING_TAKEN}`),
      }),
    );
  }

  const outside =
    /^imago: hardlink to what is not in the archive: got "(?:etc\/passwd|s\/passwd|nothing)" \(a\): pack the whole root file system\n$/;
  for (const name of ['hardlink-to-host-file', 'hardlink-through-symlink', 'hardlink-to-nothing']) {
    test(name.replaceAll('-', ' '), () => arena.refuses(['import', `hostile/${name}.tar`, 'bad'], { says: outside }));
  }

  test('nothing came out of any of them', () => {
    for (const path of [arena.path('evil'), join(arena.directory, '../evil'), '/evil', '/etc/evil'])
      assert.ok(!existsSync(path));
  });
});
