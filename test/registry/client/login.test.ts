import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parseServer, verifyLogin } from '../../../src/registry/client/login.ts';
import { openTransport } from '../../../src/registry/client/transport.ts';
import { findProgram } from '../../../src/runtime/find-runtime.ts';
import { listen, makeTemporaryDirectory, quickOptions, startRegistry } from './lying-registry.ts';

const MAIN: string = join(import.meta.dirname, '../../../src/cli/main.ts');
const USER = { username: 'user', password: 's3cret' };
const BASIC = `Basic ${Buffer.from('user:s3cret').toString('base64')}`;

let temporary: ReturnType<typeof makeTemporaryDirectory>;
let env: NodeJS.ProcessEnv;
beforeEach(() => {
  temporary = makeTemporaryDirectory();
  env = { ...process.env, HOME: temporary.path, IMAGO_ROOT: join(temporary.path, 'store') };
  for (const name of ['DOCKER_CONFIG', 'REGISTRY_AUTH_FILE', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME']) delete env[name];
});
afterEach(() => temporary[Symbol.dispose]());

interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

async function imago(words: string[], input?: string): Promise<Outcome> {
  const running = promisify(execFile)(process.execPath, [MAIN, ...words], { env });
  running.child.stdin!.end(input ?? '');
  try {
    return { status: 0, ...(await running) };
  } catch (error) {
    const { code, stdout, stderr } = error as unknown as Outcome & { code: number };
    return { status: code, stdout, stderr };
  }
}

const stored = () => JSON.parse(readFileSync(join(temporary.path, '.docker/config.json'), 'utf8')).auths;
const unencrypted = () =>
  `WARNING! Your password will be stored unencrypted in ${temporary.path}/.docker/config.json.
Configure a credential helper to remove this warning. See
https://docs.docker.com/engine/reference/commandline/login/#credential-stores

`;
const INSECURE = 'WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n';

const startPrivate = () =>
  startRegistry((request, response) => {
    if (request.headers.authorization === BASIC) return response.end('{}');
    return response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="r"' }).end();
  });

describe('names of registries', () => {
  for (const [text, wanted] of [
    [undefined, 'docker.io'],
    ['', 'docker.io'],
    ['https://index.docker.io/v1/', 'docker.io'],
    ['registry-1.docker.io', 'docker.io'],
    ['quay.io', 'quay.io'],
    ['https://quay.io/', 'quay.io'],
    ['http://localhost:5000/v2/', 'localhost:5000'],
  ] as const) {
    test(`${text}`, () => assert.equal(parseServer(text), wanted));
  }
  for (const text of ['quay.io/team', 'user@host', 'a b', 'host:99999', 'host?x']) {
    test(`none: ${text}`, () => assert.throws(() => parseServer(text), { code: 'BAD_REGISTRY' }));
  }
  for (const text of ['user:s3cret@host', 'https://user:s3cret@host/']) {
    test(`a password in it is not repeated: ${text}`, () => {
      assert.throws(
        () => parseServer(text),
        (error: Error) => !error.message.includes('s3cret'),
      );
    });
  }
});

describe('login and logout', { timeout: 240_000 }, () => {
  test('with -p, twice, and out again', async () => {
    await using registry = await startPrivate();
    assert.deepEqual(await imago(['login', '-u', 'user', '-p', 's3cret', registry.name]), {
      status: 0,
      stdout: 'Login Succeeded\n',
      stderr: INSECURE + unencrypted(),
    });
    assert.deepEqual(stored(), { [registry.name]: { auth: BASIC.slice(6) } });
    assert.deepEqual(await imago(['login', `http://${registry.name}/`]), {
      status: 0,
      stdout: 'Authenticating with existing credentials...\nLogin Succeeded\n',
      stderr: unencrypted(),
    });
    const out = { status: 0, stderr: '' };
    const removed = `Removing login credentials for ${registry.name}\n`;
    assert.deepEqual(await imago(['logout', registry.name]), { ...out, stdout: removed });
    assert.deepEqual(stored(), {});
    assert.deepEqual(await imago(['logout', registry.name]), { ...out, stdout: `Not logged in to ${registry.name}\n` });
  });

  test('with --password-stdin', async () => {
    await using registry = await startPrivate();
    const words = ['login', '--username', 'user', '--password-stdin', registry.name];
    for (const end of ['', '\n', '\r\n']) {
      const { status, stdout, stderr } = await imago(words, `s3cret${end}`);
      assert.deepEqual([status, stdout, stderr], [0, 'Login Succeeded\n', unencrypted()]);
    }
  });

  test('refused: nothing is stored', async () => {
    await using registry = await startPrivate();
    const { status, stdout, stderr } = await imago(['login', '-u', 'user', '--password-stdin', registry.name], 'wr0ng');
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /got 401 Unauthorized \(GET http:\S+\/v2\/\): check the user name and the password/);
    assert.doesNotMatch(stderr, /wr0ng/);
    assert.equal(existsSync(join(temporary.path, '.docker')), false);
  });

  for (const [title, words, message] of [
    [
      'no terminal',
      ['login', 'localhost:1'],
      /^imago: cannot perform an interactive login from a non TTY device: give -u and --password-stdin\n$/,
    ],
    ['no user name', ['login', '--password-stdin', 'localhost:1'], /Must provide --username with --password-stdin/],
    [
      'both',
      ['login', '-u', 'a', '-p', 'b', '--password-stdin', 'x'],
      /--password and --password-stdin are mutually exclusive/,
    ],
    ['an empty password', ['login', '-u', 'a', '--password-stdin', 'localhost:1'], /password is empty/],
    ['an endless password', ['login', '-u', 'a', '--password-stdin', 'localhost:1'], /too long/],
    ['no registry', ['login', '-u', 'a', '--password-stdin', 'a/b'], /not a registry: "a\/b": wanted HOST/],
    ['nobody there', ['login', '-u', 'a', '--password-stdin', 'localhost:1'], /localhost:1: connection refused/],
  ] as const) {
    test(`refused: ${title}`, async () => {
      const input = title === 'an endless password' ? 'x'.repeat(100_000) : title === 'an empty password' ? '\n' : 'pw';
      const { status, stderr } = await imago([...words], input);
      assert.equal(status, 1);
      assert.match(stderr, message);
    });
  }

  const skip = findProgram('script') === undefined ? 'needs script (package bsdutils)' : false;
  test('asked for at a terminal, without an echo of the password', { skip }, async () => {
    await using registry = await startPrivate();
    const command = `'${process.execPath}' '${MAIN}' login ${registry.name}`;
    const child = spawn('script', ['-qefc', command, '/dev/null'], { env });
    let shown = '';
    let answered = 0;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
      for (const [question, answer] of [
        ['Username: ', 'user\r'],
        ['Password: ', 's3crex\x7ft\r'],
      ].slice(answered, answered + 1)) {
        if (!shown.includes(question!)) continue;
        answered++;
        setTimeout(() => child.stdin.write(answer!), 50);
      }
    });
    const status = await new Promise((done) => child.on('close', done));
    assert.equal(status, 0, shown);
    assert.match(shown, /Login Succeeded/);
    assert.doesNotMatch(shown, /s3c/);
    assert.deepEqual(stored(), { [registry.name]: { auth: BASIC.slice(6) } });
  });

  test('Ctrl-C at the question', { skip }, async () => {
    const child = spawn('script', ['-qefc', `'${process.execPath}' '${MAIN}' login localhost:1`, '/dev/null'], { env });
    child.stdout.setEncoding('utf8').once('data', () => setTimeout(() => child.stdin.write('\x03'), 200));
    assert.equal(await new Promise((done) => child.on('close', done)), 130);
  });
});

describe('showing credentials to a registry', { timeout: 120_000 }, () => {
  test('a token server that gives a refresh token: it is kept instead of the password', async () => {
    await using registry = await startRegistry((request, response) => {
      if (request.url!.startsWith('/token')) return response.end('{"token":"t","refresh_token":"r"}');
      if (request.headers.authorization === 'Bearer t') return response.end('{}');
      const challenge = `Bearer realm="http://${request.headers.host}/token",service="s"`;
      return response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
    });
    const kept = await verifyLogin(registry.name, USER, quickOptions());
    assert.deepEqual(kept, { username: 'user', password: '', identityToken: 'r' });
    const token = registry.requests.find(({ url }) => url.startsWith('/token'))!;
    assert.equal(token.url, '/token?service=s&account=user&offline_token=true&client_id=imago');
    assert.equal(token.authorization, BASIC);
  });

  test('a registry that is open for reading is asked whether the password is right', async () => {
    await using registry = await startRegistry((request, response) =>
      response.writeHead([undefined, BASIC].includes(request.headers.authorization) ? 200 : 401).end(),
    );
    assert.deepEqual(await verifyLogin(registry.name, USER, quickOptions()), USER);
    const wrong = { username: 'user', password: 'wrong' };
    await assert.rejects(verifyLogin(registry.name, wrong, quickOptions()), { code: 'UNAUTHORIZED' });
  });

  test('a web site is no registry', async () => {
    await using site = await startRegistry((_, response) =>
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end('<html>Welcome</html>'),
    );
    await assert.rejects(verifyLogin(site.name, USER, quickOptions()), { code: 'BAD_ANSWER' });
  });

  const missing = ['docker-registry', 'htpasswd'].filter((name) => findProgram(name) === undefined);
  const skip = missing.length > 0 ? `needs ${missing.join(' and ')}` : false;
  test("Debian's docker-registry with htpasswd", { skip }, async () => {
    const reserved = createServer();
    const port = await listen(reserved);
    await new Promise((done) => reserved.close(done));
    const path = (name: string): string => join(temporary.path, name);
    writeFileSync(path('htpasswd'), execFileSync('htpasswd', ['-Bbn', USER.username, USER.password]));
    const settings = {
      version: 0.1,
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: path('data') } },
      http: { addr: `127.0.0.1:${port}` },
      auth: { htpasswd: { realm: 'a "quoted" realm', path: path('htpasswd') } },
    };
    writeFileSync(path('settings.yml'), JSON.stringify(settings));
    const server = spawn('docker-registry', ['serve', path('settings.yml')], { stdio: 'ignore' });
    try {
      const name = `localhost:${port}`;
      const options = quickOptions({ timing: { tries: 10, retryMs: 100 } });
      for (const until = Date.now() + 10_000; Date.now() < until; ) {
        if ((await fetchStatus(name)) !== undefined) break;
      }
      assert.deepEqual(await verifyLogin(name, USER, options), USER);
      const wrong = { ...USER, password: 'wrong' };
      await assert.rejects(verifyLogin(name, wrong, options), {
        code: 'UNAUTHORIZED',
        message: /authentication required/,
      });
      assert.equal((await imago(['login', '-u', 'user', '-p', 's3cret', name])).stdout, 'Login Succeeded\n');
      using transport = openTransport(name, { ...options, dockerConfig: path('.docker/config.json') });
      const scopes = ['repository:a:pull,push'];
      const started = await transport.request({
        method: 'POST',
        target: '/v2/a/blobs/uploads/',
        answers: [202],
        scopes,
      });
      started.body.resume();
      const put = { method: 'PATCH', target: started.headers.location!, answers: [202], scopes } as const;
      const next = await transport.request({ ...put, body: Buffer.from('bytes') });
      assert.equal(next.headers.range, '0-4');
      const unknown = { method: 'GET', target: '/v2/a/manifests/nope', answers: [200], scopes } as const;
      await assert.rejects(transport.request(unknown), {
        code: 'MANIFEST_UNKNOWN',
        message: /^manifest for localhost:\d+\/a:nope not found: manifest unknown/,
      });
    } finally {
      server.kill();
      await new Promise((done) => server.once('close', done));
    }
  });
});

async function fetchStatus(name: string): Promise<number | undefined> {
  using transport = openTransport(name, quickOptions({ timing: { tries: 1 } }));
  try {
    return (await transport.request({ method: 'GET', target: '/v2/', answers: [200, 401] })).status;
  } catch {
    await new Promise((done) => setTimeout(done, 50));
    return undefined;
  }
}
