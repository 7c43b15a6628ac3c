import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { checkRunnable, readPlatforms } from '../../src/engine/build-platforms.ts';
import type { Image } from '../../src/image/image.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { findEmulation } from '../../src/system/binfmt.ts';
import { BuildLab, whyNoRun } from './lab.ts';

const host = hostPlatform(process.arch).architecture;
const foreign = ['s390x', 'riscv64'].find((architecture) => findEmulation(architecture)?.fixed !== true);
const EMULATED = 'arm64';
const emulated = host !== EMULATED && findEmulation(EMULATED)?.fixed === true;
const env = ({ config }: Pick<Image, 'config'>): string[] =>
  config.config!.Env!.filter((entry) => !entry.startsWith('PATH='));

describe('platforms of a build', () => {
  it('an image each, and an index of them in the order asked for', async () => {
    using lab = new BuildLab();
    lab.write({ 'bin-amd64': 'a', 'bin-arm64': 'b', 'bin-arm': 'c' });
    const dockerfile =
      'FROM scratch\nARG TARGETARCH\nARG TARGETVARIANT\nENV v=$TARGETVARIANT\nCOPY bin-$TARGETARCH /bin';
    const { descriptor, platforms } = await lab.build(dockerfile, {
      platform: ['linux/arm64,linux/arm/v7', 'linux/amd64', 'linux/arm64'],
      tags: ['multi'],
    });
    assert.equal(descriptor.mediaType, 'application/vnd.oci.image.index.v1+json');
    assert.deepEqual(
      platforms.map(({ platform: { os, architecture, variant } }) => [os, architecture, variant]),
      [
        ['linux', 'arm64', undefined],
        ['linux', 'arm', 'v7'],
        ['linux', 'amd64', undefined],
      ],
    );
    for (const [arch, text] of [
      ['arm64', 'b'],
      ['arm', 'c'],
      ['amd64', 'a'],
    ] as const) {
      const image = resolveImage(lab.store, 'multi', {
        os: 'linux',
        architecture: arch,
        ...(arch === 'arm' ? { variant: 'v7' } : {}),
      });
      assert.equal(image.config.architecture, arch);
      assert.equal(lab.read(image, 'bin'), text);
      assert.deepEqual(env(image), [arch === 'arm' ? 'v=v7' : 'v=']);
    }
    assert.equal(resolveImage(lab.store, 'multi').config.architecture, host);
  });

  it('one of them is an image, not an index', async () => {
    using lab = new BuildLab();
    const { descriptor, image } = await lab.build('FROM scratch\nENV a=b', { platform: 'linux/s390x' });
    assert.equal(descriptor.mediaType, 'application/vnd.oci.image.manifest.v1+json');
    assert.equal(image.config.architecture, 's390x');
  });

  it('a base is taken for the platform of its stage', async () => {
    using lab = new BuildLab();
    const tags = ['base'];
    await lab.build('FROM scratch\nARG TARGETARCH\nENV of=$TARGETARCH\nCOPY <<e /of\n$TARGETARCH\ne', {
      tags,
      platform: 'linux/amd64,linux/arm64',
    });
    const dockerfile =
      'FROM --platform=$BUILDPLATFORM base AS tool\nFROM --platform=linux/arm64 base AS arm\nFROM base\nCOPY --from=tool /of /tool\nCOPY --from=arm /of /arm\nCOPY --from=base /of /image';
    const { platforms } = await lab.build(dockerfile, { platform: 'linux/amd64,linux/arm64' });
    for (const { platform, id } of platforms) {
      const image = resolveImage(lab.store, id);
      const read = (path: string): string | undefined => lab.read(image, path)?.trim();
      assert.deepEqual(
        [read('of'), read('tool'), read('arm'), read('image')],
        [platform.architecture, host, 'arm64', platform.architecture],
      );
      assert.deepEqual(env(image), [`of=${platform.architecture}`]);
    }
    await assert.rejects(lab.build('FROM base', { platform: 'linux/s390x' }), { line: 1 });
  });

  it('a stage on a stage is for what that one is for; scratch is for the target', async () => {
    using lab = new BuildLab();
    const on = await lab.build('FROM --platform=linux/arm64 scratch AS a\nFROM --platform=linux/s390x a', {
      platform: 'linux/riscv64',
    });
    assert.equal(on.image.config.architecture, 'riscv64');
  });

  it('reads platforms as people write them', () => {
    const linux = { os: 'linux', architecture: 'amd64' };
    const read = (text: string | string[] | undefined): string[] =>
      readPlatforms(text, linux).map(({ architecture, variant }) => `${architecture}${variant ?? ''}`);
    assert.deepEqual(read(undefined), ['amd64']);
    assert.deepEqual(read(''), ['amd64']);
    assert.deepEqual(read(' linux/arm64 , aarch64,arm'), ['arm64', 'armv7']);
    assert.throws(() => read('linux/a/b/c'), { code: 'BAD_PLATFORM' });
  });
});

describe('RUN for several platforms', { skip: whyNoRun() }, () => {
  it('what is for the machine itself is run once for all, also without the cache', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile =
      'FROM --platform=$BUILDPLATFORM base AS tool\nCOPY a /\nRUN echo ran; cat /proc/sys/kernel/random/uuid > /id\nFROM scratch\nCOPY --from=tool /id /';
    lab.write({ a: '1' });
    for (const noCache of [false, true]) {
      const { platforms, output } = await lab.build(dockerfile, {
        platform: ['linux/s390x', 'linux/riscv64', `linux/${host}`],
        noCache,
      });
      assert.equal(output, 'ran\n');
      const ids = platforms.map(({ id }) => lab.read(resolveImage(lab.store, id), 'id'));
      assert.equal(new Set(ids).size, 1);
    }
  });

  it('what sees the platform is run for each', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile =
      'FROM --platform=$BUILDPLATFORM base AS tool\nARG TARGETARCH\nRUN echo for $TARGETARCH > /out\nFROM scratch\nCOPY --from=tool /out /';
    const { platforms } = await lab.build(dockerfile, { platform: 'linux/s390x,linux/riscv64' });
    for (const { platform, id } of platforms) {
      assert.equal(lab.read(resolveImage(lab.store, id), 'out'), `for ${platform.architecture}\n`);
    }
  });

  it('a RUN that comes twice is run twice without the cache', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { output } = await lab.build('FROM base\nRUN echo x\nRUN echo x', { noCache: true });
    assert.equal(output, 'x\nx\n');
  });

  it('of a platform that an emulator runs', {
    skip: emulated ? false : `no emulator of ${EMULATED} is registered with flag F (qemu-user-static, binfmt-support)`,
  }, async () => {
    using lab = new BuildLab();
    writeFileSync(join(lab.context, 'hello'), armProgram('hello\n'), { mode: 0o755 });
    const { image, output } = await lab.build('FROM scratch\nCOPY hello /\nRUN ["/hello"]', {
      platform: `linux/${EMULATED}`,
    });
    assert.equal(output, 'hello\n');
    assert.equal(image.config.architecture, EMULATED);
  });

  it('of a platform that the machine cannot run, it says what is missing', {
    skip: foreign === undefined && 'emulators of all platforms are registered',
  }, async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile = 'FROM --platform=$BUILDPLATFORM base AS own\nFROM scratch\nCOPY --from=own / /\nRUN true';
    await assert.rejects(lab.build(dockerfile, { platform: `linux/${foreign}` }), {
      code: 'FOREIGN_PLATFORM',
      line: 4,
      message: /apt-get install qemu-user-static binfmt-support.*FROM --platform=\$BUILDPLATFORM/,
    });
    // The platform is in the key: what this machine ran for itself is no hit.
    await lab.build(dockerfile);
    await assert.rejects(lab.build(dockerfile, { platform: `linux/${foreign}` }), { code: 'FOREIGN_PLATFORM' });
  });
});

describe('emulation', () => {
  const entry = (machine: string, flags: string, state = 'enabled'): string =>
    `${state}\ninterpreter /usr/bin/qemu\nflags: ${flags}\noffset 0\nmagic 7f454c460201010000000000000000000200${machine}00\nmask ffffffffffffff00fffffffffffffffffeffffff\n`;
  const cases: [name: string, files: Record<string, string>, want: object | undefined][] = [
    ['registered with F', { 'qemu-aarch64': entry('b7', 'POCF') }, { name: 'qemu-aarch64', fixed: true }],
    ['registered without', { 'qemu-aarch64': entry('b7', '') }, { name: 'qemu-aarch64', fixed: false }],
    ['of two the one with F', { a: entry('b7', ''), b: entry('b7', 'F') }, { name: 'b', fixed: true }],
    ['disabled', { x: entry('b7', 'F', 'disabled') }, undefined],
    ['for another machine', { x: entry('3e', 'F') }, undefined],
    ['by extension', { x: 'enabled\ninterpreter /usr/bin/x\nflags: \nextension .exe\n' }, undefined],
    ['no entries', { register: '', status: 'enabled\n' }, undefined],
  ];
  for (const [name, files, want] of cases) {
    it(name, () => {
      const directory = mkdtempSync(join(tmpdir(), 'imago-binfmt-'));
      try {
        for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, file), text);
        assert.deepEqual(findEmulation('arm64', directory), want);
        assert.equal(findEmulation('nosuch', directory), undefined);
      } finally {
        rmSync(directory, { recursive: true });
      }
    });
  }
  it('no binfmt_misc at all', () => assert.equal(findEmulation('arm64', '/no/such'), undefined));
  it('the machine runs its own, and what its processor takes as its own', () => {
    const amd64 = { os: 'linux', architecture: 'amd64' };
    for (const architecture of ['amd64', '386']) checkRunnable({ os: 'linux', architecture }, amd64);
    checkRunnable({ os: 'linux', architecture: 'amd64', variant: 'v3' }, amd64);
    assert.throws(() => checkRunnable({ os: 'windows', architecture: 'amd64' }, amd64), {
      code: 'FOREIGN_PLATFORM',
      message: /leave RUN out/,
    });
  });
});

/** A static ELF program for Linux on 64-bit Arm that writes a text and exits with 0. */
function armProgram(text: string): Buffer {
  const base = 0x400000;
  const code = [
    0xd2800020, // mov x0, #1
    0x100000e1, // adr x1, text (28 bytes on)
    0xd2800002 | (text.length << 5), // mov x2, #length
    0xd2800808, // mov x8, #64 (write)
    0xd4000001, // svc #0
    0xd2800000, // mov x0, #0
    0xd2800ba8, // mov x8, #93 (exit)
    0xd4000001, // svc #0
  ];
  const head = 64 + 56;
  const size = head + code.length * 4 + text.length;
  const elf = Buffer.alloc(size);
  // ELF-64 specification 1.5, File Header and Program Header: one segment, the whole file, readable and executable.
  elf.write('\x7fELF\x02\x01\x01', 'latin1');
  elf.writeUInt16LE(2, 16); // ET_EXEC
  elf.writeUInt16LE(183, 18); // EM_AARCH64
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(BigInt(base + head), 24);
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(1, 64); // PT_LOAD
  elf.writeUInt32LE(5, 68);
  elf.writeBigUInt64LE(BigInt(base), 80);
  elf.writeBigUInt64LE(BigInt(base), 88);
  elf.writeBigUInt64LE(BigInt(size), 96);
  elf.writeBigUInt64LE(BigInt(size), 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  for (const [i, word] of code.entries()) elf.writeUInt32LE(word >>> 0, head + i * 4);
  elf.write(text, head + code.length * 4, 'latin1');
  return elf;
}
