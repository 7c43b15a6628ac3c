import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { isImagoError } from '../../src/core/errors.ts';
import { parseAddress, parseServeConfig, readServeConfig, type ServeConfig } from '../../src/registry/server/config.ts';
import { composeServeConfig } from '../../src/registry/server/config-overrides.ts';
import { openDoor } from '../../src/registry/server/door.ts';
import { WatchedFile } from '../../src/registry/server/watched-file.ts';

const DOOR = { origin: () => 'http://x', onProblem: () => {} };
const parse = (text: string): ServeConfig => parseServeConfig(text, 'registry.yaml', '/etc/imago');

describe('settings that are wrong say where and what', () => {
  for (const [text, words] of [
    ['adress: 127.0.0.1:5000', /^registry.yaml:1:1: unknown setting 'adress': did you mean 'address'\?$/],
    ['auth:\n  htpaswd: x', /^registry.yaml:2:3: unknown setting 'htpaswd' in auth: did you mean 'htpasswd'\?$/],
    ['log: { colour: red }', /:1:8: unknown setting 'colour' in log: known are format, requests$/],
    [
      'auth: { htpasswd: x, rules: [{ users: a, actions: [pul] }] }',
      /auth\.rules\[0\]\.actions\[0\].*did you mean 'pull'/,
    ],
    ['auth: { htpasswd: x, rules: [{ actions: pull }] }', /a rule for nobody/],
    ['auth: { htpasswd: x, rules: [{ groups: g, actions: pull }] }', /group 'g'/],
    ['auth: { rules: [] }', /lets nobody in/],
    ['auth: { htpasswd: x, tokens: {}, jwt: { realm: "https://x", issuer: x, jwks: k } }', /two givers/],
    ['auth: { jwt: { realm: "https://x", issuer: x } }', /needs the keys/],
    ['tls: { cert: a }', /:1:6: tls.key is missing$/],
    ['tls: { cert: a, key: b, minVersion: TLSv1.1 }', /TLSv1\.2 or TLSv1\.3/],
    ['proxy: { url: "https://user:pass@x" }', /must not have a user name/],
    ['proxy: { url: x }', /http:\/\/ or https:/],
    ['proxy: { url: "https://x", username: u }', /together/],
    ['proxy: { url: "https://x", size: 0 }', /proxy\.size must be above 0/],
    ['proxy: { url: "https://x", keep: forever }', /proxy\.keep must be a time/],
    ['address: somewhere', /HOST:PORT/],
    ['readOnly: yes please', /true or false/],
    ['limits: { manifestBytes: 5MiB }', /manifestBytes must be from 1B to 4MiB$/],
    ['limits: { connections: -1 }', /above 0/],
    ['timeouts: { idle: fast }', /30s, 10m/],
    ['gc: { interval: 1s }', /gc\.interval must be from 1m to 366d$/],
    ['address: "a:1"\naddress: "b:1"', /:2:1: .*unique/],
    ['a: [1', /:1:/],
    ['- address', /must be a map/],
    ['storage: &x a\naddress: *x', /aliases/],
    ['storage: 5', /write "5"/],
  ] as const) {
    test(text.replaceAll('\n', '⏎'), () => {
      assert.throws(
        () => parse(text),
        (error) => isImagoError(error, 'BAD_CONFIG') && words.test(error.message),
      );
    });
  }
});

test('what is right is read, paths relative to the file', () => {
  const config = parse(`
# a comment
storage: data
limits: { blobBytes: 10GB, manifestBytes: 1MiB }
timeouts: { idle: 1m30s }
gc: { interval: 24h, deleteUntagged: true }
auth:
  htpasswd: users
  anonymousPull: true
  groups: { team: [ann, bob] }
  rules: [{ groups: team, actions: pull }]
`);
  assert.equal(config.storage, '/etc/imago/data');
  assert.equal(config.limits.blobBytes, 10e9);
  assert.equal(config.limits.manifestBytes, 1 << 20);
  assert.equal(config.timeouts.idle, 90_000);
  assert.equal(config.gc.interval, 86_400_000);
  assert.equal(config.auth!.htpasswd, '/etc/imago/users');
  assert.deepEqual(config.auth!.anonymousPull, ['**']);
  assert.deepEqual(config.auth!.rules, [{ users: [], groups: ['team'], repositories: ['**'], actions: ['pull'] }]);
  assert.equal(parse('storage: s3://bucket/prefix').storage, 's3://bucket/prefix');
});

test('flags are read by the same rules, relative to where they were typed', () => {
  const config = composeServeConfig(
    { htpasswd: 'users', storage: 'data', address: '[::1]:0', anonymousPull: true },
    '/home/x',
  );
  assert.equal(config.auth!.htpasswd, '/home/x/users');
  assert.equal(config.storage, '/home/x/data');
  assert.deepEqual(config.auth!.anonymousPull, ['**']);
  assert.throws(() => composeServeConfig({ address: 'x' }, '/'), { message: /^address must be HOST:PORT/ });
  assert.throws(() => composeServeConfig({ tlsCert: 'x' }, '/'), /go together/);
});

test('files that are not there are named', () => {
  const missing = { code: 'UNREADABLE_FILE', message: /^no such file: \/nonexistent\/x: correct its name/ };
  assert.throws(() => readServeConfig('/nonexistent/x'), missing);
  assert.throws(() => openDoor(parse('auth: { htpasswd: /nonexistent/x }').auth!, DOOR), missing);
  const tokens = parse('auth: { htpasswd: /dev/null, tokens: { keyFile: /nonexistent/x } }').auth!;
  assert.throws(() => openDoor(tokens, DOOR), missing);
});

test('a file that broke is told of once, and what it said counts', async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'imago-watched-')), 'file');
  t.after(() => rmSync(dirname(path), { recursive: true }));
  writeFileSync(path, 'good');
  const problems: string[] = [];
  const parseFile = (text: string): string => {
    if (text.startsWith('bad')) throw new Error(text);
    return text;
  };
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const file = new WatchedFile(path, parseFile, { onProblem: ({ message }) => problems.push(message) });
  const read = (): string => {
    now += 2000;
    return file.read();
  };
  writeFileSync(path, 'bad 1');
  assert.deepEqual([read(), read(), read()], ['good', 'good', 'good']);
  writeFileSync(path, 'bad two');
  assert.deepEqual([read(), read()], ['good', 'good']);
  rmSync(path);
  assert.deepEqual([read(), read()], ['good', 'good']);
  writeFileSync(path, 'better');
  assert.equal(read(), 'better');
  writeFileSync(path, 'bad two');
  assert.equal(read(), 'better');
  assert.deepEqual(
    problems.map((text) => text.split(':')[0]),
    ['bad 1', 'bad two', 'no such file', 'bad two'],
  );
});

test('addresses', () => {
  assert.deepEqual(parseAddress('[::]:5000'), { host: '::', port: 5000 });
  assert.deepEqual(parseAddress(':0'), { host: undefined, port: 0 });
  assert.deepEqual(parseAddress('registry.example:443'), { host: 'registry.example', port: 443 });
  for (const bad of ['5000', 'x:70000', '::1:5000', 'http://x:1', '']) assert.equal(parseAddress(bad), undefined);
});

describe('the manual', () => {
  const manual = readFileSync(join(import.meta.dirname, '../../docs/registry.md'), 'utf8');
  const sample = /## Settings[\s\S]*?```yaml\n([\s\S]*?)```/.exec(manual)![1]!;

  test('its defaults are the defaults', () => {
    assert.deepEqual(parse(sample), parse(''));
  });

  test('what it has commented out is right, too', () => {
    const text = sample.replace(/^( {0,4})# (?= *[\w-]+:| *- )/gm, '$1');
    const config = parse(text.replace(/^ {2}tokens:.*\n(?: {4}.*\n)+/m, ''));
    const missing = Object.entries(config).filter(([, value]) => value === undefined);
    assert.deepEqual(missing, []);
    assert.throws(() => parse(text), /two givers of tokens/);
  });

  test('its other samples are right', () => {
    const samples = [...manual.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text!);
    assert.ok(samples.length >= 2);
    for (const text of samples.slice(1)) parse(text);
  });
});
