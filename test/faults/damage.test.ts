import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Arena } from './arena.ts';
import { namesIn } from './observe.ts';
import { needsContainers, packBusybox, packSample } from './samples.ts';

const containers = needsContainers();

/** Images `sample` and `built` (sample, and one layer more), and a container of busybox; `pristine` is a copy of the store. */
let arena: Arena;
let manifest: string;
let config: string;
let top: string;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  arena.write('context/Dockerfile', 'FROM sample\nCOPY file /\n');
  arena.write('context/file', 'in the context\n');
  arena.ok(['build', '-t', 'built', 'context']);
  if (containers === undefined) {
    arena.ok(['import', packBusybox(arena), 'busybox']);
    arena.ok(['run', '--name', 'box', 'busybox', 'touch', '/precious']);
  }
  manifest = JSON.parse(readFileSync(at('refs/docker.io%2Flibrary%2Fbuilt:latest'), 'utf8')).descriptor.digest.slice(7);
  config = JSON.parse(readFileSync(at(`blobs/sha256/${manifest}`), 'utf8')).config.digest.slice(7);
  [, top] = JSON.parse(readFileSync(at(`blobs/sha256/${config}`), 'utf8')).rootfs.diff_ids.map((d: string) =>
    d.slice(7),
  );
  cpSync(arena.root, arena.path('pristine'), { recursive: true, preserveTimestamps: true });
});
beforeEach(() => {
  rmSync(arena.root, { recursive: true });
  cpSync(arena.path('pristine'), arena.root, { recursive: true, preserveTimestamps: true });
});
after(() => arena[Symbol.dispose]());

function at(path: string): string {
  return join(arena.root, path);
}

/** The DiffID of the only layer of `busybox`, in hex. */
function boxLayer(): string {
  return JSON.parse(arena.ok(['inspect', '-f', '{{json .RootFS.Layers}}', 'busybox']))[0].slice(7);
}

function overwrite(path: string, content: string | Uint8Array): void {
  chmodSync(at(path), 0o644);
  writeFileSync(at(path), content);
}

const GARBAGE = ['', 'null', '{}'];

describe('the record of a reference', () => {
  const path = 'refs/docker.io%2Flibrary%2Fbuilt:latest';
  const damaged =
    /the record of a reference is damaged \(.*refs\/docker\.io%2Flibrary%2Fbuilt:latest\): 'imago verify' sets it aside; then tag or pull the image again\n$/;

  for (const text of [...GARBAGE, '{"reference":"x","descriptor":{"digest":"sha256:../../x"}}']) {
    test(`is ${JSON.stringify(text)}`, () => {
      overwrite(path, text);
      for (const command of ['history', 'save', 'rmi']) arena.refuses([command, 'built'], { says: damaged });
    });
  }
  test('is damaged: the other images are there, and verify mends the store', () => {
    overwrite(path, '{');
    const { stdout } = arena.fails(['images'], { says: damaged });
    assert.match(stdout, /^sample +latest/m);
    arena.ok(['history', 'sample']);
    // By its ID, and although the record names nothing: nothing that it kept is pruned while it may still say so.
    arena.ok(['tag', 'sample', 'third']);
    const { stdout: told } = arena.imago(['verify', '--all']);
    assert.match(
      told,
      /^damaged: reference: its record cannot be read\n {2}set aside as .*\n {2}to get it back: tag or pull the image again\n/,
    );
    assert.match(arena.ok(['verify', '--all']), /all as it was stored/);
    arena.ok(['images']);
  });
  test('is a directory', () => {
    unlinkSync(at(path));
    mkdirSync(at(path));
    arena.fails(['history', 'built'], { says: damaged });
    arena.ok(['prune', '-f']);
  });
});

describe('the record of a container', { skip: containers ?? false }, () => {
  const id = (): string => readdirSync(at('containers')).find((name) => /^[0-9a-f]{64}$/.test(name))!;
  const damaged =
    /the record of a container is damaged \(.*\/container\.json\): what it wrote is in .*\/upper; 'imago rm -f [0-9a-f]{12}' discards it\n$/;

  for (const text of GARBAGE) {
    test(`is ${JSON.stringify(text)}: told, kept, and removed by force`, () => {
      overwrite(`containers/${id()}/container.json`, text);
      // Old enough to be collected, if it were garbage.
      utimesSync(at(`containers/${id()}`), 1, 1);
      assert.equal(arena.fails(['ps', '-aq'], { says: damaged }).stdout, '');
      arena.fails(['start', 'box'], { says: damaged });
      arena.fails(['rm', 'box'], { says: damaged });
      arena.fails(['inspect', id().slice(0, 12)], { says: damaged });
      arena.fails(['run', '--name', 'box', 'busybox', 'true'], { status: 125, says: damaged });
      arena.ok(['system', 'prune', '-f']);
      assert.ok(existsSync(at(`containers/${id()}/upper/precious`)));
      arena.ok(['rm', '-f', 'box']);
      assert.equal(arena.ok(['ps', '-aq']), '');
      arena.ok(['run', '--rm', '--name', 'box', 'busybox', 'true']);
    });
  }
  test('of its last start: it counts as never started', () => {
    overwrite(`containers/${id()}/started.json`, '{');
    assert.equal(arena.ok(['ps', '-a', '--format', '{{.Status}}']), 'Created\n');
    arena.ok(['start', 'box']);
    arena.ok(['wait', 'box']);
    arena.ok(['rm', 'box']);
  });
});

describe('the build cache', () => {
  for (const text of GARBAGE) {
    test(`is ${JSON.stringify(text)}: the build does it anew`, () => {
      for (const file of ['', 'inputs', 'seen', 'stat'].flatMap((name) =>
        namesIn(at(`cache/${name}`)).map((file) => `cache/${name}/${file}`),
      )) {
        if (!['inputs', 'seen', 'stat'].some((name) => file === `cache//${name}`)) overwrite(file, text);
      }
      arena.ok(['build', '-t', 'again', 'context']);
      assert.match(arena.imago(['build', '-t', 'again', 'context']).stderr, /COPY file \/\n#\d+ CACHED/);
      assert.match(arena.ok(['verify', '--all']), /all as it was stored/);
    });
  }
  test('names a layer that is gone', () => {
    rmSync(at(`layers/${top}`), { recursive: true });
    rmSync(at(`blobs/sha256/${top}`));
    arena.ok(['build', '-t', 'built', 'context']);
    assert.match(arena.ok(['verify', '--all']), /all as it was stored/);
  });
});

describe('the record of a layer', { skip: containers ?? false }, () => {
  for (const text of GARBAGE) {
    test(`is ${JSON.stringify(text)}: verify makes it anew`, () => {
      overwrite(`layers/${boxLayer()}/layer.json`, text);
      arena.fails(['run', '--rm', 'busybox', 'true'], {
        status: 125,
        says: /the record of a layer is damaged \(.*\/layer\.json\): 'imago verify' makes it anew from the layer's tar\n$/,
      });
      assert.match(arena.ok(['verify', 'busybox']), /^made anew: layer facts of sha256:/);
      arena.ok(['run', '--rm', 'busybox', 'true']);
    });
  }
});

describe('a document', () => {
  const advice = "'imago verify' says what it belongs to and how to get it back\n$";
  for (const text of ['', 'null']) {
    test(`is ${JSON.stringify(text)}`, () => {
      for (const hex of [manifest, config]) {
        overwrite(`blobs/sha256/${hex}`, text);
        arena.refuses(['history', 'built'], { says: new RegExp(`\\(.*blobs/sha256/${hex}\\): ${advice}`) });
        const { status, stdout } = arena.imago(['verify', '--all']);
        assert.equal(status, 1);
        assert.match(stdout, new RegExp(`^damaged: \\w+ sha256:${hex}: its bytes have another digest`, 'm'));
        arena.fails(['history', 'built'], { says: /blob is damaged and was set aside by verify/ });
        // The cache has all that it takes to make it again.
        arena.ok(['build', '-t', 'built', 'context']);
        assert.match(arena.ok(['verify', '--all']), /all as it was stored/);
      }
    });
  }
  test('is missing', () => {
    rmSync(at(`blobs/sha256/${config}`));
    arena.refuses(['history', 'built'], {
      says: /blob not found in the store: wanted sha256:.*: pull or load the image that it belongs to again\n$/,
    });
    assert.equal(arena.imago(['verify', '--all']).status, 1);
    arena.ok(['rmi', 'built']);
    assert.match(arena.ok(['verify', '--all']), /all as it was stored/);
  });
});

describe('the tar of a layer', { skip: containers ?? false }, () => {
  test('is cut short: nothing runs on it, and verify sets it aside until it comes again', () => {
    const box = boxLayer();
    chmodSync(at(`blobs/sha256/${box}`), 0o644);
    truncateSync(at(`blobs/sha256/${box}`), 4096);
    arena.fails(['run', '--rm', 'busybox', 'true'], {
      status: 125,
      says: /a layer's tar is not as long as it was: wanted \d+ bytes, got 4096/,
    });
    assert.equal(arena.imago(['verify', '--all']).status, 1);
    arena.fails(['run', '--rm', 'busybox', 'true'], {
      status: 125,
      says: /layer not found in the store: .*: load its archive, or build it, again/,
    });
    arena.ok(['import', 'busybox.tar', 'busybox']);
    arena.ok(['run', '--rm', 'busybox', 'true']);
    arena.ok(['start', 'box']);
    arena.ok(['prune', '-f']);
    assert.match(arena.ok(['verify', '--all']), /all as it was stored/);
    assert.deepEqual(namesIn(at('quarantine')), []);
  });
  test('is missing', () => {
    rmSync(at(`blobs/sha256/${boxLayer()}`));
    arena.fails(['save', '-o', arena.path('out.tar'), 'busybox'], { says: /blob not found in the store/ });
    assert.ok(!existsSync(arena.path('out.tar')));
    arena.ok(['import', 'busybox.tar', 'busybox']);
    arena.ok(['run', '--rm', 'busybox', 'true']);
  });
});

describe('the index of a layer', { skip: containers ?? false }, () => {
  const index = (): string => `layers/${boxLayer()}/layer.erofs`;
  const noise = Buffer.alloc(4096, 0x5a);
  const cases: [name: string, damage: () => void][] = [
    ['is missing', () => rmSync(at(index()))],
    ['is empty', () => overwrite(index(), '')],
    ['is noise', () => overwrite(index(), noise)],
    ['has a hole', () => overwrite(index(), Buffer.concat([readFileSync(at(index())).subarray(0, 1024), noise]))],
  ];
  for (const [name, damage] of cases) {
    test(`${name}: verify makes it anew`, () => {
      damage();
      // Not mounted yet by anybody.
      rmSync(join(arena.run, 'backend.json'), { force: true });
      arena.imago(['run', '--rm', 'busybox', 'true']);
      assert.match(arena.ok(['verify', '--all']), /^made anew: layer index of sha256:/);
      arena.ok(['run', '--rm', 'busybox', 'true']);
    });
  }
});

describe('the store', () => {
  test('is of a later version', () => {
    writeFileSync(at('version'), '2\n');
    for (const words of [
      ['images'],
      ['import', 'sample.tar', 'x'],
      ['prune', '-f'],
      ['verify', '--all'],
      ['run', 'sample'],
    ]) {
      const { status, stderr } = arena.imago(words);
      assert.equal(status, words[0] === 'run' ? 125 : 1, stderr);
      assert.match(
        stderr,
        /^imago: this store was written by a newer Imago: wanted format 1, got format 2 \(.*\): update imago, or choose another store with --root\n$/,
      );
    }
  });
  test('is of a version that is none', () => {
    writeFileSync(at('version'), 'x'.repeat(1000));
    arena.fails(['images'], {
      says: /this store has a format that Imago does not know: .*: choose another store with --root\n$/,
    });
  });
  test('is no store', () => {
    for (const root of ['/', '/etc/passwd', arena.path('context')]) {
      const names = namesIn(arena.path('context'));
      arena.fails(['--root', root, 'images'], {
        says: /not a store.*: choose (?:an empty directory|another) with --root\n$/,
      });
      assert.deepEqual(namesIn(arena.path('context')), names);
    }
  });
  test('lost a directory', () => {
    for (const name of ['refs', 'blobs', 'layers', 'ingest', 'leases', 'containers']) {
      rmSync(at(name), { recursive: true });
      const { stderr } = arena.imago(['import', 'sample.tar', 'x']);
      assert.doesNotMatch(stderr, /internal error|^\s+at /m);
      arena.imago(['images']);
      rmSync(arena.root, { recursive: true });
      cpSync(arena.path('pristine'), arena.root, { recursive: true, preserveTimestamps: true });
    }
  });
});
