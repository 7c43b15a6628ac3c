import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes, type TarMember } from '../../src/formats/tar/write.ts';
import { packDirectory } from '../../src/transfer/artifact-pack.ts';
import { pullArtifact } from '../../src/transfer/artifact-pull.ts';
import { parseArtifactFile, pushArtifact } from '../../src/transfer/artifact-push.ts';
import { unpackDirectory } from '../../src/transfer/artifact-unpack.ts';
import { Lab, sha256 } from '../archive/lab.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

const TITLE = 'org.opencontainers.image.title';
const EMPTY = Buffer.from('{}');

/** Puts an artifact together by hand, as a liar would. */
function putArtifact(
  registry: FakeRegistry,
  files: { bytes: Uint8Array; annotations?: Record<string, string>; size?: number }[],
): string {
  registry.putBlob('a', EMPTY);
  registry.putManifest('a', 'v1', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: 'application/x-test',
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256(EMPTY), size: 2 },
    layers: files.map(({ bytes, annotations, size }) => ({
      mediaType: 'application/octet-stream',
      digest: registry.putBlob('a', bytes),
      size: size ?? bytes.length,
      ...(annotations && { annotations }),
    })),
  });
  return `${registry.host}/a:v1`;
}

function tarOf(members: (TarMember & { body?: string })[]): Buffer {
  const parts = members.flatMap(({ body = '', ...member }) => {
    const bytes = Buffer.from(body);
    return [encodeHeader({ ...member, size: bytes.length }), bytes, paddingBytes(bytes.length)];
  });
  return gzipSync(Buffer.concat([...parts, END_OF_ARCHIVE]));
}

function packed(members: (TarMember & { body?: string })[], title = 'd'): Parameters<typeof putArtifact>[1][number] {
  return { bytes: tarOf(members), annotations: { [TITLE]: title, 'io.deis.oras.content.unpack': 'true' } };
}

/** A pull that must fail with this code and leave nothing at all. */
async function refused(lab: Lab, reference: string, code: string | RegExp): Promise<void> {
  const outside = lab.path('outside');
  mkdirSync(outside, { recursive: true });
  const directory = lab.path('outside/out');
  await assert.rejects(pullArtifact(reference, { directory }), (error: { code?: string }) => {
    assert.match(String(error.code), typeof code === 'string' ? new RegExp(`^${code}$`) : code, String(error));
    return true;
  });
  const left = readdirSync(outside, { recursive: true }).filter((name) => name !== 'out');
  assert.deepEqual(left, []);
}

async function gather(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

describe('artifacts travel', () => {
  it('files and directories, there and back', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const source = lab.tree('in', {
      'a.txt': 'hello\n',
      'd/sub/b': randomBytes(300_000),
      'd/run': '#!/bin/sh\n',
      'd/ü': '1',
    });
    chmodSync(join(source, 'd/run'), 0o755);
    symlinkSync('sub/b', join(source, 'd/link'));
    mkdirSync(join(source, 'd/empty'));
    utimesSync(join(source, 'd/run'), 1_000_000, 1_000_000);
    const name = `${registry.host}/team/thing:1`;
    const files = ['a.txt', 'd'].map((path) => ({ path: join(source, path) }));
    const seen: string[] = [];
    const pushed = await pushArtifact(name, files, {
      artifactType: 'application/x-test',
      annotations: { 'org.example.key': 'v' },
      created: '2026-01-01T00:00:00Z',
      onFile: (file, done, total) => done === total && seen.push(file),
    });
    assert.deepEqual([...new Set(seen)], ['a.txt', 'd']);
    const manifest = JSON.parse(
      registry.repository('team/thing').manifests.get(pushed.descriptor.digest)!.bytes.toString(),
    );
    assert.equal(manifest.artifactType, 'application/x-test');
    assert.deepEqual(manifest.annotations, {
      'org.example.key': 'v',
      'org.opencontainers.image.created': '2026-01-01T00:00:00Z',
    });
    assert.deepEqual(manifest.config, {
      data: 'e30=',
      digest: sha256(EMPTY),
      mediaType: 'application/vnd.oci.empty.v1+json',
      size: 2,
    });
    assert.deepEqual(
      manifest.layers.map((l: { mediaType: string }) => l.mediaType),
      ['application/vnd.oci.image.layer.v1.tar', 'application/vnd.oci.image.layer.v1.tar+gzip'],
    );
    const directory = lab.path('out');
    const pulled = await pullArtifact(name, { directory });
    assert.deepEqual(pulled.files, ['a.txt', 'd']);
    assert.equal(pulled.digest, pushed.descriptor.digest);
    assert.deepEqual(readdirSync(directory), ['a.txt', 'd']);
    assert.deepEqual(
      readdirSync(join(directory, 'd'), { recursive: true }).sort(),
      ['empty', 'link', 'run', 'sub', 'sub/b', 'ü'].sort(),
    );
    assert.deepEqual(readFileSync(join(directory, 'd/sub/b')), readFileSync(join(source, 'd/sub/b')));
    assert.equal(readlinkSync(join(directory, 'd/link')), 'sub/b');
    assert.equal(statSync(join(directory, 'd/run')).mode & 0o777, 0o755);
    assert.equal(statSync(join(directory, 'd/run')).mtimeMs, 1_000_000_000);
  });

  it('an empty file, and an empty directory', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const source = lab.tree('in', { empty: '' });
    mkdirSync(join(source, 'd'));
    const files = ['empty', 'd'].map((path) => ({ path: join(source, path) }));
    await pushArtifact(`${registry.host}/a:1`, files);
    await pullArtifact(`${registry.host}/a:1`, { directory: lab.path('out') });
    assert.equal(statSync(lab.path('out/empty')).size, 0);
    assert.deepEqual(readdirSync(lab.path('out/d')), []);
  });

  it('the same again is the same digest, and nothing travels twice', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const source = lab.tree('in', { 'd/x': 'x'.repeat(100_000), 'd/y': randomBytes(100_000) });
    const push = () =>
      pushArtifact(`${registry.host}/a:1`, [{ path: join(source, 'd') }], { created: '2026-01-01T00:00:00Z' });
    const first = await push();
    const before = registry.bytesReceived;
    assert.deepEqual(await push(), first);
    assert.ok(registry.bytesReceived - before < 2000, 'the manifest alone');
  });

  it('an upload that breaks goes on', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const source = lab.tree('in', { 'd/x': randomBytes(3_000_000) });
    registry.fault({ method: 'PATCH' }, { cutRequestAfter: 1_000_000 });
    registry.fault({ method: 'PUT', path: /uploads/ }, { cutRequestAfter: 1_000_000 });
    await pushArtifact(`${registry.host}/a:1`, [{ path: join(source, 'd') }]);
    const { files } = await pullArtifact(`${registry.host}/a:1`, { directory: lab.path('out') });
    assert.deepEqual(files, ['d']);
    assert.deepEqual(readFileSync(lab.path('out/d/x')), readFileSync(join(source, 'd/x')));
  });

  it('a download that breaks goes on', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const bytes = randomBytes(500_000);
    const name = putArtifact(registry, [{ bytes, annotations: { [TITLE]: 'x' } }]);
    registry.fault({ method: 'GET', path: /blobs/ }, { cutAfter: 200_000 });
    await pullArtifact(name, { directory: lab.path('out') });
    assert.deepEqual(readFileSync(lab.path('out/x')), bytes);
    assert.match(registry.requests('GET', /blobs/).at(-1)!.headers.range!, /^bytes=[1-9]/);
  });

  it('a referrer needs no tag, and its subject is found by tag or digest', async () => {
    using lab = new Lab();
    const source = lab.tree('in', { 'sbom.json': '{}\n' });
    for (const referrers of [true, false]) {
      await using registry = await FakeRegistry.start({ referrers });
      const name = putArtifact(registry, []);
      const subject = registry.repository('a').tags.get('v1')!;
      const file = [{ path: join(source, 'sbom.json'), mediaType: 'application/spdx+json' }];
      for (const text of [name, subject, ':v1', `${registry.host}/a@${subject}`]) {
        const pushed = await pushArtifact(`${registry.host}/a`, file, {
          subject: text,
          artifactType: 'application/x-sbom',
        });
        assert.equal(pushed.subject, subject);
        assert.equal(pushed.reference, `${registry.host}/a@${pushed.descriptor.digest}`);
      }
      await assert.rejects(pushArtifact(`${registry.host}/a`, file, { subject: `${registry.host}/b:v1` }), {
        code: 'BAD_SUBJECT',
      });
      await assert.rejects(pushArtifact(`${registry.host}/a`, file, { subject: ':none' }), {
        code: 'MANIFEST_UNKNOWN',
      });
    }
  });

  it('without files there is the empty layer; blobs without names stay there', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const { descriptor } = await pushArtifact(`${registry.host}/a:1`, [], { artifactType: 'application/x-flag' });
    const { files, unnamed, digest } = await pullArtifact(`${registry.host}/a:1`, { directory: lab.path('out') });
    assert.deepEqual({ files, unnamed, digest }, { files: [], unnamed: [sha256(EMPTY)], digest: descriptor.digest });
    assert.deepEqual(readdirSync(lab.path('out')), []);
  });

  it('files that are there are replaced, or kept where that is asked for', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const annotations = { [TITLE]: 'x' };
    const name = putArtifact(registry, [{ bytes: Buffer.from('new'), annotations }]);
    const directory = lab.tree('out', { x: 'old', other: 'o' });
    await assert.rejects(pullArtifact(name, { directory, keepExisting: true }), { code: 'FILE_EXISTS' });
    assert.equal(readFileSync(join(directory, 'x'), 'utf8'), 'old');
    await pullArtifact(name, { directory });
    assert.equal(readFileSync(join(directory, 'x'), 'utf8'), 'new');
    assert.deepEqual(readdirSync(directory).sort(), ['other', 'x']);
    const inTheWay = putArtifact(registry, [{ bytes: Buffer.from('1'), annotations: { [TITLE]: 'x/y' } }]);
    await assert.rejects(pullArtifact(inTheWay, { directory }), { code: 'FILE_EXISTS' });
    assert.equal(readFileSync(join(directory, 'x'), 'utf8'), 'new');
  });

  it('a symlink in the target directory is not followed', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const outside = lab.tree('elsewhere', { keep: 'k' });
    const directory = lab.tree('out', {});
    symlinkSync(outside, join(directory, 'd'));
    symlinkSync(join(outside, 'keep'), join(directory, 'f'));
    const through = putArtifact(registry, [{ bytes: Buffer.from('1'), annotations: { [TITLE]: 'd/keep' } }]);
    await assert.rejects(pullArtifact(through, { directory }), { code: 'FILE_EXISTS' });
    await pullArtifact(putArtifact(registry, [{ bytes: Buffer.from('1'), annotations: { [TITLE]: 'f' } }]), {
      directory,
    });
    assert.equal(readFileSync(join(outside, 'keep'), 'utf8'), 'k');
    assert.ok(lstatSync(join(directory, 'f')).isFile());
  });
});

describe('FILE[:MEDIATYPE]', () => {
  it('is told apart from names with colons', () => {
    using lab = new Lab();
    const dir = lab.tree('in', { 'a:b/c': '1', plain: '1' });
    const cases: [string, string, string?][] = [
      ['sbom.json:application/spdx+json', 'sbom.json', 'application/spdx+json'],
      ['plain', 'plain'],
      ['a:b', 'a:b'],
      [`${dir}/a:b/c`, `${dir}/a:b/c`],
      [`${dir}/plain:text/plain`, `${dir}/plain`, 'text/plain'],
    ];
    for (const [text, path, mediaType] of cases) {
      assert.deepEqual(parseArtifactFile(text), mediaType === undefined ? { path } : { path, mediaType }, text);
    }
  });

  it('what cannot be pushed is refused before anything is sent', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const dir = lab.tree('in', { 'd/x': '1', 'e/x': '2' });
    symlinkSync('/etc/passwd', join(dir, 'd/out'));
    const name = `${registry.host}/a:1`;
    const cases: [string[], string][] = [
      [['missing'], 'NO_SUCH_FILE'],
      [['d'], 'BAD_FILE'],
      [['d/x', 'e/x'], 'BAD_TITLE'],
    ];
    for (const [paths, code] of cases) {
      await assert.rejects(
        pushArtifact(
          name,
          paths.map((path) => ({ path: join(dir, path) })),
        ),
        { code },
        code,
      );
    }
    await assert.rejects(pushArtifact(name, [{ path: join(dir, 'e/x'), mediaType: 'nonsense' }]), {
      code: 'BAD_MEDIA_TYPE',
    });
    await assert.rejects(pushArtifact(name, [], { artifactType: 'x y/z' }), { code: 'BAD_MEDIA_TYPE' });
    await assert.rejects(pushArtifact(`${registry.host}/a@${sha256(EMPTY)}`, []), { code: 'BAD_REFERENCE' });
    assert.equal(registry.count('PUT'), 0);
    assert.equal(registry.count('POST'), 0);
  });

  it('a directory packs to the same bytes, with its name in front', async () => {
    using lab = new Lab();
    const dir = lab.tree('in', { b: '2', a: '1' });
    utimesSync(dir, 5, 5);
    utimesSync(join(dir, 'a'), 5, 5);
    utimesSync(join(dir, 'b'), 5, 5);
    const once = await gather(packDirectory(dir, 'x/y'));
    assert.deepEqual(await gather(packDirectory(`${dir}`, 'x/y')), once);
    assert.ok(once.subarray(0, 3).equals(Buffer.from([0x1f, 0x8b, 8])));
    assert.deepEqual([...once.subarray(4, 8)], [0, 0, 0, 0], 'no time in the gzip header');
  });
});

describe('an artifact that lies', () => {
  const titles: [string, string][] = [
    ['../../etc/passwd', 'BAD_TITLE'],
    ['/etc/passwd', 'BAD_TITLE'],
    ['a/../../b', 'BAD_TITLE'],
    ['..', 'BAD_TITLE'],
    ['', 'BAD_TITLE'],
    ['.', 'BAD_TITLE'],
    ['x\0y', 'BAD_TITLE'],
    [`${'n'.repeat(256)}`, 'BAD_TITLE'],
    [`${'n/'.repeat(3000)}x`, 'BAD_TITLE'],
  ];
  for (const [title, code] of titles) {
    it(`as to a name: ${JSON.stringify(title.slice(0, 30))}`, async () => {
      using lab = new Lab();
      await using registry = await FakeRegistry.start();
      const name = putArtifact(registry, [
        { bytes: Buffer.from('good'), annotations: { [TITLE]: 'good' } },
        { bytes: Buffer.from('bad'), annotations: { [TITLE]: title } },
      ]);
      await refused(lab, name, code);
      assert.equal(registry.count('GET', /blobs/), 0);
    });
  }

  const pairs = [
    ['x', 'x'],
    ['x', './/x'],
    ['x', 'x/y'],
    ['x/y', 'x'],
  ] as const;
  for (const [first, second] of pairs) {
    it(`two files as ${first} and ${second}`, async () => {
      using lab = new Lab();
      await using registry = await FakeRegistry.start();
      const name = putArtifact(registry, [
        { bytes: Buffer.from('1'), annotations: { [TITLE]: first } },
        { bytes: Buffer.from('2'), annotations: { [TITLE]: second } },
      ]);
      await refused(lab, name, 'BAD_TITLE');
    });
  }

  const members: [string, (TarMember & { body?: string })[]][] = [
    ['a name that climbs', [{ path: 'd/../../x', type: 'file', body: '1' }]],
    ['an absolute name', [{ path: '/etc/x', type: 'file', body: '1' }]],
    ['a name beside the title', [{ path: 'e/x', type: 'file', body: '1' }]],
    ['the title as a file', [{ path: 'd', type: 'file', body: '1' }]],
    ['an absolute symlink', [{ path: 'd/x', type: 'symlink', linkname: '/etc/passwd' }]],
    ['a symlink out', [{ path: 'd/x', type: 'symlink', linkname: '../../etc' }]],
    [
      'a file through a symlink',
      [
        { path: 'd/x', type: 'symlink', linkname: '.' },
        { path: 'd/x/y', type: 'file', body: '1' },
      ],
    ],
    [
      'a symlink out by way of another one',
      [
        { path: 'd/a/b/c', type: 'directory' },
        { path: 'd/a/b/c/up', type: 'symlink', linkname: '../../..' },
        { path: 'd/x', type: 'symlink', linkname: 'a/b/c/up/../etc' },
      ],
    ],
    ['symlinks in a circle', [{ path: 'd/x', type: 'symlink', linkname: 'x' }]],
    ['a hard link out', [{ path: 'd/x', type: 'hardlink', linkname: '../../etc/passwd' }]],
    ['a hard link to what is absolute', [{ path: 'd/x', type: 'hardlink', linkname: '/etc/passwd' }]],
    [
      'a hard link to a symlink',
      [
        { path: 'd/s', type: 'symlink', linkname: 'f' },
        { path: 'd/x', type: 'hardlink', linkname: 'd/s' },
      ],
    ],
    ['a device', [{ path: 'd/null', type: 'char', devmajor: 1, devminor: 3 }]],
    ['a pipe', [{ path: 'd/p', type: 'fifo' }]],
  ];
  for (const [what, list] of members) {
    it(`packed: ${what}`, async () => {
      using lab = new Lab();
      await using registry = await FakeRegistry.start();
      await refused(lab, putArtifact(registry, [packed(list)]), 'BAD_ARTIFACT');
    });
  }

  it('a file below a symlink that an unpacked directory brought', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const name = putArtifact(registry, [
      packed([{ path: 'd/x', type: 'symlink', linkname: '.' }]),
      { bytes: Buffer.from('1'), annotations: { [TITLE]: 'd/x/y' } },
    ]);
    await refused(lab, name, 'BAD_TITLE');
  });

  it('no archive, a cut one, and one that is not what its digest says', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const good = packed([{ path: 'd/x', type: 'file', body: 'x'.repeat(5000) }]);
    const { annotations } = good;
    await refused(lab, putArtifact(registry, [{ bytes: randomBytes(2000), annotations }]), /^TAR_/);
    await refused(
      lab,
      putArtifact(registry, [{ bytes: good.bytes.subarray(0, 60), annotations }]),
      /^TRUNCATED_COMPRESSED$/,
    );
    const told = { ...annotations, 'io.deis.oras.content.digest': sha256(EMPTY) };
    await refused(lab, putArtifact(registry, [{ bytes: good.bytes, annotations: told }]), 'DIGEST_MISMATCH');
  });

  it('a bomb is stopped', async () => {
    using lab = new Lab();
    const blob = join(
      lab.tree('in', { bomb: tarOf([{ path: 'd/x', type: 'file', body: 'x'.repeat(3_000_000) }]) }),
      'bomb',
    );
    const directory = lab.tree('out', {});
    const { size } = statSync(blob);
    const unpack = unpackDirectory(blob, directory, { title: ['d'], size, limit: 1_000_000 });
    await assert.rejects(unpack, { code: 'ARTIFACT_TOO_LARGE' });
  });

  it('set-user-ID bits do not come through', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const name = putArtifact(registry, [packed([{ path: 'd/x', type: 'file', mode: 0o6755, body: '1' }])]);
    await pullArtifact(name, { directory: lab.path('out') });
    assert.equal(statSync(lab.path('out/d/x')).mode & 0o7777, 0o755);
  });

  it('other bytes, fewer bytes, more bytes', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const bytes = randomBytes(50_000);
    const annotations = { [TITLE]: 'x' };
    const good = { bytes: Buffer.from('good'), annotations: { [TITLE]: 'good' } };
    const name = putArtifact(registry, [good, { bytes, annotations }]);
    registry.fault({ method: 'GET', path: new RegExp(`blobs/${sha256(bytes)}`) }, { corrupt: true }, 20);
    await refused(lab, name, 'DIGEST_MISMATCH');
    registry.clearFaults();
    for (const size of [bytes.length - 1, bytes.length + 1]) {
      await refused(lab, putArtifact(registry, [good, { bytes, annotations, size }]), /./);
    }
  });

  it('a web page, an index in a circle of depth, a manifest without layers', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const name = putArtifact(registry, []);
    registry.fault({ path: /manifests/ }, { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } }, 9);
    await refused(lab, name, 'BAD_RESPONSE');
    registry.clearFaults();
    let inner = { digest: registry.repository('a').tags.get('v1')!, size: 2 };
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    for (let i = 0; i < 6; i++) {
      const index = { schemaVersion: 2, mediaType, manifests: [{ mediaType, ...inner }] };
      inner = { digest: registry.putManifest('a', 'v1', index), size: JSON.stringify(index).length };
    }
    await refused(lab, name, /^INDEX_TOO_DEEP$|^BAD_MANIFEST$/);
  });

  it('thousands of layers come in, a few at a time', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const files = Array.from({ length: 3000 }, (_, i) => ({
      bytes: Buffer.from(String(i)),
      annotations: { [TITLE]: `f/${i % 50}/${i}` },
    }));
    const { files: pulled } = await pullArtifact(putArtifact(registry, files), { directory: lab.path('out') });
    assert.equal(pulled.length, 3000);
    assert.equal(readFileSync(lab.path('out/f/49/2999'), 'utf8'), '2999');
    assert.ok(registry.openConnections <= 8);
  });

  it('a pull that is given up leaves nothing', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const name = putArtifact(registry, [
      { bytes: Buffer.from('good'), annotations: { [TITLE]: 'good' } },
      { bytes: randomBytes(100_000), annotations: { [TITLE]: 'x' } },
    ]);
    registry.fault({ method: 'GET', path: /blobs/ }, { stallAfter: 10 }, 9);
    const control = new AbortController();
    setTimeout(() => control.abort(new Error('enough')), 100);
    const directory = lab.path('out');
    await assert.rejects(pullArtifact(name, { directory, signal: control.signal }));
    assert.deepEqual(existsSync(directory) ? readdirSync(directory) : [], []);
  });
});
