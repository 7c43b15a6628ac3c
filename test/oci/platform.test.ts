import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  formatPlatform,
  hostPlatform,
  matchPlatform,
  normalizePlatform,
  parsePlatform,
  platformRank,
  selectPlatform,
} from '../../src/oci/platform.ts';

const PARSED: [text: string, want: string][] = [
  ['linux/amd64', 'linux/amd64'],
  ['linux/x86_64', 'linux/amd64'],
  ['linux/amd64/v1', 'linux/amd64'],
  ['linux/amd64/v3', 'linux/amd64/v3'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm64/v9', 'linux/arm64/v9'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/armhf', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/i386', 'linux/386'],
  ['macos/arm64', 'darwin/arm64'],
  ['LINUX/AMD64', 'linux/amd64'],
  ['arm64', 'linux/arm64'],
  ['aarch64', 'linux/arm64'],
  ['linux', 'linux/riscv64'],
  ['windows', 'windows/riscv64'],
  ['s390x', 'linux/s390x'],
];

describe('parsePlatform', () => {
  for (const [text, want] of PARSED) {
    it(text, () => assert.equal(formatPlatform(parsePlatform(text, { os: 'linux', architecture: 'riscv64' })), want));
  }
  for (const text of ['', '/', 'linux/', 'a/b/c/d', 'linux/amd 64', 'nonsense', '../x']) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parsePlatform(text), { code: 'BAD_PLATFORM' }));
  }
});

it('hostPlatform knows the names of Node and uname', () => {
  assert.deepEqual(hostPlatform('x64'), { os: 'linux', architecture: 'amd64' });
  assert.deepEqual(hostPlatform('x86_64'), { os: 'linux', architecture: 'amd64' });
  assert.deepEqual(hostPlatform('arm'), { os: 'linux', architecture: 'arm', variant: 'v7' });
  assert.deepEqual(hostPlatform('armv6l'), { os: 'linux', architecture: 'arm', variant: 'v6' });
  assert.deepEqual(hostPlatform('ppc64'), { os: 'linux', architecture: 'ppc64le' });
});

/** The machine, the image, whether it runs there. As containerd/platforms v1.0.0 compare_test.go. */
const RANKS: [want: string, have: string, rank: number][] = [
  ['linux/amd64', 'linux/amd64', 0],
  ['linux/amd64', 'linux/amd64/v1', 0],
  ['linux/amd64', 'linux/386', 1],
  ['linux/amd64', 'linux/amd64/v2', -1],
  ['linux/amd64/v3', 'linux/amd64/v2', 1],
  ['linux/amd64/v3', 'linux/amd64', 2],
  ['linux/amd64/v3', 'linux/386', 3],
  ['linux/386', 'linux/amd64', -1],
  ['linux/arm64', 'linux/arm64/v8', 0],
  ['linux/arm64', 'linux/arm/v8', 1],
  ['linux/arm64', 'linux/arm', 2],
  ['linux/arm64', 'linux/arm/v5', 4],
  ['linux/arm64/v9', 'linux/arm64', 1],
  ['linux/arm64', 'linux/arm64/v9', -1],
  ['linux/arm/v7', 'linux/arm', 0],
  ['linux/arm/v7', 'linux/arm/v6', 1],
  ['linux/arm/v7', 'linux/arm/v5', 2],
  ['linux/arm/v6', 'linux/arm/v7', -1],
  ['linux/arm/v5', 'linux/arm/v5', 0],
  ['linux/arm/v7', 'linux/arm64', -1],
  ['linux/amd64', 'windows/amd64', -1],
  ['linux/amd64', 'linux/arm64', -1],
  ['linux/ppc64le', 'linux/ppc64le', 0],
];

describe('platformRank', () => {
  for (const [want, have, rank] of RANKS) {
    it(`${want} for ${have}: ${rank}`, () =>
      assert.equal(platformRank(parsePlatform(want), parsePlatform(have)), rank));
  }
  it('os.version does not matter on Linux', () => {
    assert.ok(
      matchPlatform({ os: 'linux', architecture: 'amd64' }, { os: 'linux', architecture: 'amd64', 'os.version': '9' }),
    );
  });
  it('normalizing keeps the other members', () => {
    assert.deepEqual(normalizePlatform({ os: 'linux', architecture: 'x86-64', 'os.features': ['a'] }), {
      os: 'linux',
      architecture: 'amd64',
      'os.features': ['a'],
    });
  });
});

it('selectPlatform takes the best, and the first among equals', () => {
  const items = ['linux/386', 'linux/amd64', 'linux/amd64/v1', 'linux/arm64'];
  assert.equal(
    selectPlatform(parsePlatform('linux/amd64'), items, (t) => parsePlatform(t)),
    'linux/amd64',
  );
  assert.equal(
    selectPlatform(parsePlatform('linux/s390x'), items, (t) => parsePlatform(t)),
    undefined,
  );
});
