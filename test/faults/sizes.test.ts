import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { Arena } from './arena.ts';
import { measureMemory, needsTools, packSample } from './samples.ts';

const python = needsTools('python3');

let arena: Arena;
let memory: ReturnType<typeof measureMemory>;
before(() => {
  arena = new Arena();
  memory = measureMemory(arena);
  arena.ok(['import', packSample(arena), 'sample']);
  arena.write('context/file', 'in the context\n');
});
after(() => arena.finish());

function lines(count: number, line: (number: number) => string): string {
  return `FROM sample\n${Array.from({ length: count - 1 }, (_, i) => `${line(i + 1)}\n`).join('')}`;
}

/** Bytes, at the peak. */
const LITTLE = 400e6;

function succeeds(words: readonly string[]): void {
  arena.ok(words, memory);
  assert.ok(memory.peak() < LITTLE, `${memory.peak()} bytes`);
}

function refuses(words: readonly string[], says: RegExp): void {
  arena.refuses(words, { ...memory, says });
  assert.ok(memory.peak() < LITTLE, `${memory.peak()} bytes`);
}

function build(dockerfile: string, says?: RegExp): void {
  arena.write('context/Dockerfile', dockerfile);
  const words = ['build', '-t', 'large', 'context'];
  if (says === undefined) succeeds(words);
  else refuses(words, says);
}

describe('a Dockerfile of 10,000 lines', { skip: python ?? false }, () => {
  test('of labels', () => {
    build(lines(10_000, (n) => `LABEL l${n % 50}=${n}`));
    assert.equal(arena.ok(['history', '-q', 'large']).split('\n').length - 1, 10_000);
    arena.ok(['rmi', 'large']);
  });
  test('of one instruction', () => {
    build(`FROM sample\nLABEL \\\n${Array.from({ length: 9_998 }, (_, i) => ` l${i}=x`).join(' \\\n')}\n`);
    arena.ok(['rmi', 'large']);
  });
  test('of comments, with a mistake at the end', () => {
    build(
      lines(10_000, (n) => (n === 9_999 ? 'COPPY file /' : `# ${n}`)),
      /parse error on line 10000: unknown instruction: COPPY \(did you mean COPY\?\)\n$/,
    );
  });
  test('whose history no image could hold', () => {
    build(
      lines(10_000, (n) => (n === 1 ? 'ENV A=x' : 'ENV A=$A"0123456789"')),
      /imago: the image's history is too long: wanted at most \d+ characters: use fewer instructions, or shorter values\n$/,
    );
  });
});

test('a value that multiplies with each line', { skip: python ?? false }, () => {
  const line = 'ENV A=$A$A$A$A$A$A$A$A$A$A\n';
  build(`FROM sample\nENV A=0123456789\n${line.repeat(30)}`, /the value is longer than \d+ characters\n$/);
});

test('500 stages, each from the one before', { skip: python ?? false }, () => {
  const stages = Array.from(
    { length: 500 },
    (_, i) => `FROM ${i === 0 ? 'sample' : `s${i - 1}`} AS s${i}\nLABEL l=${i}\n`,
  );
  build(stages.join(''));
  arena.ok(['rmi', 'large']);
});

describe('an archive', { skip: python ?? false }, () => {
  const write = (script: string): string => {
    const path = arena.path('large.tar');
    const { status, stderr } = spawnSync('python3', ['-c', script, path], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return path;
  };

  test('of 200,000 entries, in one directory', () => {
    const tar = write(`
import sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.USTAR_FORMAT) as tar:
    header = bytearray(tarfile.TarInfo('d/0000000').tobuf(tarfile.USTAR_FORMAT))
    for i in range(200000):
        header[2:9] = b'%07d' % i
        header[148:156] = b' ' * 8
        header[148:156] = b'%06o\\0 ' % sum(header)
        tar.fileobj.write(header)
    tar.offset += 512 * 200000
`);
    succeeds(['import', tar, 'many']);
    arena.ok(['rmi', 'many']);
  });
  test('of directories 2,000 deep', () => {
    const tar = write(`
import sys, tarfile
with tarfile.open(sys.argv[1], 'w') as tar:
    tar.addfile(tarfile.TarInfo('d/' * 2000 + 'f'))
`);
    arena.ok(['import', tar, 'deep']);
    assert.match(arena.ok(['diff', 'sample', 'deep']), /^A \/(?:d\/){2000}f$/m);
    arena.ok(['rmi', 'deep']);
  });
  test('whose member says that it has 8 EiB', () => {
    const tar = write(`
import sys, tarfile
member = tarfile.TarInfo('f')
member.size = (1 << 63) - 1
open(sys.argv[1], 'wb').write(member.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
`);
    refuses(
      ['import', tar, 'x'],
      /^imago: (?:bad size in tar header|tar ends inside a member|member larger).*get it again from where it came\n$/,
    );
  });
  test('whose PAX header says that it has 4 GiB', () => {
    const tar = write(`
import sys, tarfile
member = tarfile.TarInfo('f')
member.type = tarfile.XHDTYPE
member.size = 1 << 32
open(sys.argv[1], 'wb').write(member.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
`);
    refuses(
      ['import', tar, 'x'],
      /^imago: PAX or long-name header too large: wanted at most \d+ bytes, got \d+ .*get it again from where it came\n$/,
    );
  });
  test('with 20,000 attributes on one file', () => {
    const tar = write(`
import sys, tarfile
member = tarfile.TarInfo('f')
member.pax_headers = {'SCHILY.xattr.user.%d' % i: 'x' for i in range(20000)}
with tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT) as tar:
    tar.addfile(member)
`);
    refuses(['import', tar, 'x'], /^imago: too many extended attributes on one member: wanted at most \d+/);
  });
});
