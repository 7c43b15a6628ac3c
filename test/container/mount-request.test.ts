import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type MountRequest,
  mergeMounts,
  parseTmpfsOption,
  parseVolumeOption,
} from '../../src/container/mount-request.ts';

const GOOD: [text: string, request: MountRequest][] = [
  ['/data', { type: 'volume', anonymous: true, destination: '/data', options: [] }],
  ['/data:ro', { type: 'volume', anonymous: true, destination: '/data', options: ['ro'] }],
  ['/src:/dst', { type: 'bind', source: '/src', destination: '/dst', options: [] }],
  ['/src/../a:/dst//x/', { type: 'bind', source: '/a', destination: '/dst/x', options: [] }],
  ['/src:/dst:ro,rshared', { type: 'bind', source: '/src', destination: '/dst', options: ['ro', 'rshared'] }],
  ['db:/var/db', { type: 'volume', name: 'db', anonymous: false, destination: '/var/db', options: [] }],
  ['db:/var/db:nocopy', { type: 'volume', name: 'db', anonymous: false, destination: '/var/db', options: ['nocopy'] }],
];
for (const [text, request] of GOOD) test(`-v ${text}`, () => assert.deepEqual(parseVolumeOption(text), request));

for (const text of [
  '',
  'data',
  ':/x',
  '/a:',
  '/a:b',
  '/a:/',
  '/a:/b:fast',
  '/a:/b:ro:rw',
  './a:/b',
  'x/y:/b',
  '-v:/b',
]) {
  test(`-v '${text}' is refused`, () => {
    assert.throws(() => parseVolumeOption(text), { code: 'BAD_VOLUME' });
  });
}

test('--tmpfs with and without options', () => {
  assert.deepEqual(parseTmpfsOption('/t'), { type: 'tmpfs', destination: '/t', options: [] });
  assert.deepEqual(parseTmpfsOption('/t:size=1m,exec').options, ['size=1m', 'exec']);
  assert.throws(() => parseTmpfsOption('t'), { code: 'BAD_VOLUME' });
});

test("the image's volumes are anonymous, but not where something is mounted; outer mounts come first", () => {
  const mounts = mergeMounts(['/in:/a/b/c', '/out:/a'].map(parseVolumeOption), ['/a', '/v/', 'w', '/']);
  assert.deepEqual(
    mounts.map(({ type, destination }) => `${type} ${destination}`),
    ['bind /a', 'volume /v', 'volume /w', 'bind /a/b/c'],
  );
});

test('one place cannot be mounted twice', () => {
  assert.throws(() => mergeMounts(['/x:/a', '/y:/a/'].map(parseVolumeOption), []), /Duplicate mount point: \/a/);
});
