import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { getFromHelper } from '../../../src/registry/client/credential-helpers.ts';
import { eraseCredentials, findCredentials, storeCredentials } from '../../../src/registry/client/credentials.ts';
import type { ClientOptions } from '../../../src/registry/client/types.ts';
import { makeTemporaryDirectory } from './lying-registry.ts';

const auth = (text: string): string => Buffer.from(text).toString('base64');
const USER = { username: 'user', password: 's3cret:x' };

let temporary: ReturnType<typeof makeTemporaryDirectory>;
let home: string;
let options: ClientOptions & { environment: Record<string, string | undefined> };

beforeEach(() => {
  temporary = makeTemporaryDirectory();
  home = temporary.path;
  options = {
    environment: { HOME: home, XDG_RUNTIME_DIR: join(home, 'run'), PATH: `${home}/bin:${process.env.PATH}` },
  };
});
afterEach(() => temporary[Symbol.dispose]());

function write(path: string, content: unknown): string {
  const full = join(home, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, typeof content === 'string' ? content : JSON.stringify(content));
  return full;
}

const config = (content: unknown) => write('.docker/config.json', content);
const read = () => JSON.parse(readFileSync(join(home, '.docker/config.json'), 'utf8'));

/** A helper that keeps what it is given in a file, and notes how it was called. */
function helper(name: string, body: string): void {
  chmodSync(write(`bin/docker-credential-${name}`, `#!/bin/sh\ncd '${home}'\n${body}\n`), 0o755);
}
const KEEPER = `echo "$1" >> calls
case $1 in
  store) cat > kept ;;
  get) read -r server; echo "$server" >> asked
    if [ -f kept ]; then cat kept; else echo 'credentials not found in native keychain'; exit 1; fi ;;
  erase) cat >> erased; rm -f kept ;;
esac`;

/** Fails with that code, and keeps the secret. */
async function rejectsSafely(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(JSON.stringify([error.message, error, String(error.cause)]), /s3cret/);
    return true;
  });
}

describe('reading', () => {
  const found = async (registry: string) => {
    const credentials = await findCredentials(registry, options);
    return credentials && JSON.parse(JSON.stringify(credentials));
  };
  for (const [title, auths, registry, wanted] of [
    ['an entry', { 'a.io:5000': { auth: auth('user:s3cret:x') } }, 'a.io:5000', USER],
    ['another port', { 'a.io:5000': { auth: auth('user:s3cret:x') } }, 'a.io', undefined],
    ['a part of the name', { 'xa.io': { auth: auth('user:s3cret:x') } }, 'a.io', undefined],
    ['Docker Hub', { 'https://index.docker.io/v1/': { auth: auth('user:s3cret:x') } }, 'docker.io', USER],
    ["Podman's Docker Hub", { 'docker.io': { auth: auth('user:s3cret:x') } }, 'docker.io', USER],
    ['an old URL', { 'https://a.io/v2/': { auth: auth('user:s3cret:x') } }, 'a.io', USER],
    ["a part of a registry, Podman's", { 'a.io/team': { auth: auth('user:s3cret:x') } }, 'a.io', undefined],
    [
      'the exact key first',
      { 'https://a.io': { auth: auth('old:x') }, 'a.io': { auth: auth('user:s3cret:x') } },
      'a.io',
      USER,
    ],
    ['an end of zeros', { 'a.io': { auth: auth('user:s3cret:x\0\0') } }, 'a.io', USER],
    ['members of their own', { 'a.io': USER }, 'a.io', USER],
    [
      'an identity token',
      { 'a.io': { auth: auth('user:'), identitytoken: 't' } },
      'a.io',
      { username: 'user', password: '', identityToken: 't' },
    ],
    [
      'a registry token',
      { 'a.io': { registrytoken: 't' } },
      'a.io',
      { username: '', password: '', registryToken: 't' },
    ],
    ['an empty entry', { 'a.io': {} }, 'a.io', undefined],
    ['nonsense', { 'a.io': { auth: 5 }, 'b.io': 7 }, 'a.io', undefined],
    ['no object', [1], 'a.io', undefined],
  ] as const) {
    test(title, async () => {
      config({ auths });
      assert.deepEqual(await found(registry), wanted);
    });
  }

  test('no file, and an empty one', async () => {
    assert.equal(await found('a.io'), undefined);
    config('');
    assert.equal(await found('a.io'), undefined);
  });

  test("Docker's file, then Podman's", async () => {
    const entry = (user: string) => ({ auths: { 'a.io': { auth: auth(`${user}:p`) } } });
    const who = async () => (await findCredentials('a.io', options))?.username;
    write('.config/containers/auth.json', entry('config'));
    assert.equal(await who(), 'config');
    write('run/containers/auth.json', entry('run'));
    assert.equal(await who(), 'run');
    options.environment.REGISTRY_AUTH_FILE = write('elsewhere.json', entry('named'));
    assert.equal(await who(), 'named');
    config(entry('docker'));
    assert.equal(await who(), 'docker');
    write('other/config.json', entry('other'));
    options.environment.DOCKER_CONFIG = join(home, 'other');
    assert.equal(await who(), 'other');
  });

  for (const [title, content] of [
    ['no JSON', '{"auths": {"a.io": {"auth": "s3cret"'],
    ['no object', '["s3cret"]'],
  ] as const) {
    test(`a file that is ${title} is told, not quoted`, async () => {
      config(content);
      await rejectsSafely(
        findCredentials('a.io', options),
        'BAD_DOCKER_CONFIG',
        /config\.json cannot be read: got no JSON/,
      );
      await rejectsSafely(storeCredentials('a.io', USER, options), 'BAD_DOCKER_CONFIG', /./);
    });
  }
  test('a directory in its place', async () => {
    mkdirSync(join(home, '.docker/config.json'), { recursive: true });
    await rejectsSafely(findCredentials('a.io', options), 'BAD_DOCKER_CONFIG', /no file of at most/);
  });
});

describe('writing', () => {
  test('keeps what it does not know, and is the owner’s alone', async () => {
    config({ HttpHeaders: { 'X-Meta': '1' }, auths: { 'b.io': { auth: 'x', email: 'e' } }, detachKeys: 'ctrl-a' });
    chmodSync(join(home, '.docker/config.json'), 0o644);
    const place = await storeCredentials('docker.io', USER, options);
    assert.deepEqual(place, { kind: 'file', path: join(home, '.docker/config.json') });
    assert.deepEqual(read(), {
      HttpHeaders: { 'X-Meta': '1' },
      auths: { 'b.io': { auth: 'x', email: 'e' }, 'https://index.docker.io/v1/': { auth: auth('user:s3cret:x') } },
      detachKeys: 'ctrl-a',
    });
    assert.equal(statSync(place.kind === 'file' ? place.path : '').mode & 0o777, 0o600);
  });

  test('a new file, and then nothing is left of the entry', async () => {
    assert.equal(await eraseCredentials('a.io', options), false);
    await storeCredentials('a.io', { username: 'user', password: '', identityToken: 't' }, options);
    assert.deepEqual(read(), { auths: { 'a.io': { auth: auth('user:'), identitytoken: 't' } } });
    assert.equal(statSync(join(home, '.docker')).mode & 0o777, 0o700);
    assert.equal((await findCredentials('a.io', options))!.identityToken, 't');
    assert.equal(await eraseCredentials('a.io', options), true);
    assert.deepEqual(read(), { auths: {} });
    assert.equal(await eraseCredentials('a.io', options), false);
  });

  test('old keys of the same registry go', async () => {
    config({ auths: { 'https://a.io/v1/': { auth: auth('old:x') }, 'docker.io': {}, 'index.docker.io': {} } });
    await storeCredentials('a.io', USER, options);
    assert.equal(await eraseCredentials('docker.io', options), true);
    assert.deepEqual(Object.keys(read().auths), ['a.io']);
  });

  test('a symbolic link stays one', async () => {
    const real = write('dotfiles/docker.json', '{}');
    mkdirSync(join(home, '.docker'));
    symlinkSync(real, join(home, '.docker/config.json'));
    await storeCredentials('a.io', USER, options);
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(real, 'utf8')).auths), ['a.io']);
  });

  test('many at once lose nothing', async () => {
    const module = JSON.stringify(new URL('../../../src/registry/client/credentials.ts', import.meta.url));
    const script = `import { storeCredentials } from ${module};
      const environment = { HOME: process.argv[1] };
      for (let i = 0; i < 20; i++) {
        await storeCredentials('r' + i + '.' + process.argv[2], { username: 'u', password: 'p' }, { environment });
      }`;
    const run = (name: string) =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, home, name]);
    await Promise.all(['a.io', 'b.io', 'c.io', 'd.io'].map(run));
    assert.equal(Object.keys(read().auths).length, 80);
  });

  test('a place that cannot be written', async () => {
    write('file', '');
    options.dockerConfig = join(home, 'file/config.json');
    await rejectsSafely(
      storeCredentials('a.io', USER, options),
      'DOCKER_CONFIG_UNWRITABLE',
      /name another directory in DOCKER_CONFIG/,
    );
  });
});

describe('helpers', { timeout: 120_000 }, () => {
  test('store, get, erase', async () => {
    helper('keeper', KEEPER);
    config({ credsStore: 'keeper' });
    assert.equal(await findCredentials('docker.io', options), undefined);
    assert.deepEqual(await storeCredentials('docker.io', USER, options), { kind: 'helper', name: 'keeper' });
    assert.deepEqual(read().auths, { 'https://index.docker.io/v1/': {} });
    const kept = JSON.parse(readFileSync(join(home, 'kept'), 'utf8'));
    assert.deepEqual(kept, { ServerURL: 'https://index.docker.io/v1/', Username: 'user', Secret: 's3cret:x' });
    assert.deepEqual(await findCredentials('docker.io', options), USER);
    assert.equal(await eraseCredentials('docker.io', options), true);
    assert.equal(readFileSync(join(home, 'erased'), 'utf8'), 'https://index.docker.io/v1/\n');
    assert.equal(await eraseCredentials('docker.io', options), false);
  });

  test('an identity token', async () => {
    helper('keeper', KEEPER);
    config({ credsStore: 'keeper' });
    await storeCredentials('a.io', { username: 'user', password: '', identityToken: 't' }, options);
    assert.equal(JSON.parse(readFileSync(join(home, 'kept'), 'utf8')).Username, '<token>');
    assert.equal((await findCredentials('a.io', options))!.identityToken, 't');
  });

  test('one for a registry goes before the one for all; what it lacks may be in the file', async () => {
    helper('keeper', KEEPER);
    config({
      credsStore: 'missing',
      credHelpers: { 'a.io': 'keeper' },
      auths: { 'a.io': { auth: auth('user:s3cret:x') } },
    });
    assert.deepEqual(JSON.parse(JSON.stringify(await findCredentials('a.io', options))), USER);
    assert.equal(readFileSync(join(home, 'asked'), 'utf8'), 'a.io\n');
    await rejectsSafely(
      findCredentials('b.io', options),
      'CREDENTIAL_HELPER_MISSING',
      /^docker-credential-missing not found: install it, or take 'missing' out of credsStore and credHelpers/,
    );
  });

  for (const [title, body, message] of [
    ['no JSON', 'echo s3cre; echo t', /its output is no JSON/],
    ['JSON of another kind', 'echo null', /its output has no Username and Secret/],
    ['a failure', 'echo "keychain is locked" >&2; exit 3', /got keychain is locked: try it by hand/],
    ['a failure without a word', 'exit 3', /got no word of why/],
    ['endless output', 'while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done', /endless output/],
    ['nothing', 'exec >&- 2>&-; exit 0', /its output is no JSON/],
  ] as const) {
    test(`one that answers with ${title}`, async () => {
      helper('odd', body);
      config({ credsStore: 'odd' });
      await rejectsSafely(findCredentials('a.io', options), 'CREDENTIAL_HELPER_FAILED', message);
    });
  }

  test('one that never ends', async () => {
    helper('slow', 'sleep 3 & wait');
    const asked = getFromHelper('slow', 'a.io', { ...options, timeLimitMs: 200 });
    await rejectsSafely(asked, 'CREDENTIAL_HELPER_FAILED', /no answer within 0.2 s/);
  });

  test('one that repeats what it could not store', async () => {
    helper('loud', 'cat; exit 1');
    config({ credsStore: 'loud' });
    await rejectsSafely(storeCredentials('a.io', USER, options), 'CREDENTIAL_HELPER_FAILED', /\*\*\*/);
    assert.equal(read().auths, undefined);
  });

  for (const name of ['../evil', 'a b', '-x', '/bin/sh']) {
    test(`no name of a helper: ${name}`, async () => {
      config({ credsStore: name });
      await rejectsSafely(findCredentials('a.io', options), 'CREDENTIAL_HELPER_MISSING', /cannot be/);
    });
  }
});
