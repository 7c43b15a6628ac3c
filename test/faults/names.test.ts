import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Arena } from './arena.ts';
import { packSample } from './samples.ts';

let arena: Arena;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
});
after(() => arena.finish());

const WHERE = "'imago images' lists those there are\n";
const UNKNOWN = new RegExp(`^imago: No such image: nosuch:latest: ${WHERE}$`);

describe('an unknown image', () => {
  for (const words of [
    ['rmi', 'nosuch'],
    ['history', 'nosuch'],
    ['tag', 'nosuch', 'other'],
    ['verify', 'nosuch'],
    ['diff', 'sample', 'nosuch'],
    ['save', 'nosuch', '-o', 'out.tar'],
  ]) {
    test(`imago ${words.join(' ')}`, () => {
      arena.refuses(words, { says: UNKNOWN });
      assert.ok(!existsSync(arena.path('out.tar')));
    });
  }

  test('imago run nosuch', { skip: process.geteuid?.() === 0 ? false : 'needs root' }, () =>
    arena.refuses(['run', '--rm', '--pull', 'never', 'nosuch', 'true'], { status: 125, says: UNKNOWN }),
  );

  test('imago inspect nosuch, in the words of Docker', () =>
    arena.refuses(['inspect', 'nosuch'], { says: /^Error: No such object: nosuch\n$/ }));

  test('by an ID that is none', () =>
    arena.refuses(['rmi', 'deadbeef'], { says: /No such image: deadbeef:latest: 'imago images'/ }));

  test('among known ones, which go', () => {
    arena.ok(['tag', 'sample', 'second']);
    const { stdout } = arena.fails(['rmi', 'nosuch', 'second'], { says: UNKNOWN });
    assert.equal(stdout, 'Untagged: second:latest\n');
  });
});

describe('an unknown container', () => {
  const unknown = /^imago: No such container: nosuch: 'imago ps -a' lists those there are\n$/;
  const cases: [words: string[], status: number][] = [
    [['start', 'nosuch'], 1],
    [['stop', 'nosuch'], 1],
    [['kill', 'nosuch'], 1],
    [['rm', 'nosuch'], 1],
    [['logs', 'nosuch'], 1],
    [['wait', 'nosuch'], 1],
    [['attach', 'nosuch'], 1],
    [['commit', 'nosuch', 'other'], 1],
    [['diff', 'nosuch'], 1],
    [['exec', 'nosuch', 'true'], 125],
  ];
  for (const [words, status] of cases) {
    test(`imago ${words.join(' ')}`, () => arena.refuses(words, { status, says: unknown }));
  }
});

describe('a name that is none', () => {
  const names = ['', 'Upper/Case', 'a b', '../../etc/passwd', '/etc', 'a:b:c', 'n'.repeat(300), 'ä', 'a\x1b[31m\nb'];
  const remedy =
    /^imago: (?:invalid|.*lowercase).*: a name is \[HOST\[:PORT\]\/\]PATH\[:TAG\]\[@DIGEST\] in lower case, as debian:bookworm\n$/;
  for (const name of names) {
    test(JSON.stringify(name.slice(0, 40)), () => {
      arena.refuses(['history', name], { says: remedy });
      arena.refuses(['tag', 'sample', name], { says: remedy });
    });
  }
  test('for every command', async () => {
    const name = 'Upper/\x1b[31mCase';
    for (const command of ['rmi', 'save', 'verify']) arena.refuses([command, name], { says: remedy });
    arena.refuses(['import', arena.path('sample.tar'), name], { says: remedy });
    arena.refuses(['build', '-t', name, '-'], { says: remedy, input: 'FROM sample\n' });
    arena.refuses(['inspect', name], { says: /^Error: No such object: Upper\/\\x1b\[31mCase\n$/ });
  });
});

describe('garbage on the command line', () => {
  const cases: [words: string[], status: number, says: RegExp][] = [
    [['improt', 'x'], 1, /Did you mean 'import'\?\nSee 'imago --help'\.\n$/],
    [['import'], 1, /requires at least 1 argument\n\nUsage: {2}imago import .*\n\nSee 'imago import --help'\.\n$/],
    [['import', '--nosuch', 'x'], 125, /unknown flag: --nosuch\nSee 'imago import --help'\.\n$/],
    [['import', 'nosuch.tar'], 1, /'nosuch\.tar' does not exist\n$/],
    [['import', '.'], 1, /is a directory: pack it: tar -C '\.' -c \. \| imago import -\n$/],
    [['import', '--platform', 'a/b/c/d/e', 'sample.tar'], 1, /platform/],
    [['import', '-c', 'FORM x', 'sample.tar'], 1, /FORM/],
    [['load', '-i', 'nosuch'], 1, /'nosuch' does not exist\n$/],
    [
      ['save', 'sample', '--format', 'zip'],
      1,
      /unknown format: wanted docker-archive, oci-archive, oci-dir, got "zip"\n$/,
    ],
    [['save', 'sample', '-o', '.'], 1, /is a directory\n$/],
    [['save', 'sample', '-o', 'no/such/place'], 1, /the directory of 'no\/such\/place' does not exist\n$/],
    [['save', 'sample', '--format', 'oci-dir'], 1, /a directory cannot be written to stdout: name it with -o\n$/],
    [['images', '--format', '{{.Nosuch'], 1, /unclosed action\n$/],
    [['images', '--filter', 'nosuch=1'], 1, /filter/],
    [
      ['build', 'nosuch'],
      1,
      /no such build context \(.*\): give a directory, a git or http URL, or - for a tar or a Dockerfile on standard input\n$/,
    ],
    [['build', 'sample.tar'], 1, /the build context is no directory/],
    [['build', '-f', 'nosuch', '.'], 1, /cannot read the Dockerfile: there is none \(nosuch\): name it with -f/],
    [
      ['build', '--network', 'bridge', '.'],
      125,
      /invalid value of --network: wanted default, host, none, got bridge\n$/,
    ],
    [['verify', '--all', 'sample'], 1, /takes images or --all, not both: see 'imago verify --help'\n$/],
    [['rm'], 1, /requires at least 1 argument/],
    [['run'], 1, /requires at least 1 argument/],
    [
      ['run', '--memory', 'much', 'sample', 'true'],
      125,
      /invalid value of --memory: wanted a size like '200m' or '1g', got much\n$/,
    ],
    [['run', '--network', 'nosuch', 'sample', 'true'], 125, /network nosuch not found: this version has/],
    [
      ['run', '-v', 'a:relative', 'sample', 'true'],
      125,
      /invalid volume specification: .*: wanted an absolute path in the container\n$/,
    ],
  ];
  for (const [words, status, says] of cases) {
    test(`imago ${words.join(' ')}`, () => arena.refuses(words, { status, says }));
  }

  test('nothing on standard input', () =>
    arena.refuses(['import', '-', 'x'], { input: '', says: /the layer is empty: not even the end mark of a tar/ }));
});
