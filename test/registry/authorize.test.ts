import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { SignJWT } from 'jose';
import { isImagoError } from '../../src/core/errors.ts';
import { PasswordFile, parseHtpasswd } from '../../src/registry/server/htpasswd.ts';
import { compileRules } from '../../src/registry/server/rules.ts';
import { parseScopes } from '../../src/registry/server/scopes.ts';
import { parseChallenges } from '../../src/registry/wire/challenge.ts';
import { until } from '../until.ts';
import { type Answer, ask, codeOf, jsonOf, pushImage, type Rig, ServeLab } from './serve-lab.ts';

let lab: ServeLab;
before(() => {
  lab = new ServeLab();
});
after(() => lab[Symbol.asyncDispose]());

function challengeOf(answer: Answer): { scheme: string; parameters: Record<string, string> } {
  const [challenge] = parseChallenges(answer.headers['www-authenticate'] as string);
  return { scheme: challenge!.scheme, parameters: { ...challenge!.parameters } };
}

/** As a client does it: asks, goes where the challenge says, and asks again with the token. */
async function askWithToken(url: string, options: Parameters<typeof ask>[1] & { user?: string } = {}): Promise<Answer> {
  const { user, ...rest } = options;
  const first = await ask(url, rest);
  if (first.status !== 401) return first;
  const { realm, service, scope } = challengeOf(first).parameters;
  const query = new URLSearchParams({ service: service!, ...(scope === undefined ? {} : { scope }) });
  const granted = await ask(`${realm}?${query}`, user === undefined ? {} : { user });
  if (granted.status !== 200) return granted;
  const { token } = jsonOf(granted);
  return ask(url, { ...rest, headers: { ...rest.headers, authorization: `Bearer ${token}` } });
}

describe('htpasswd', () => {
  for (const [name, hash, words] of [
    ['MD5', '$apr1$Zg7.1kL2$iMtG4yUIV9tZs1ZYc2uY41', /MD5/],
    ['SHA-1', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', /SHA-1/],
    ['crypt', '$6$abc$def', /crypt/],
    ['plain text', 'secret', /another kind/],
    ['cut short', '$2y$10$abc', /bcrypt/],
    ['ruinous cost', `$2y$31$${'.'.repeat(53)}`, /2\^19/],
  ] as const) {
    test(`a hash of ${name} is refused in words, without its text`, () => {
      assert.throws(
        () => parseHtpasswd(`# users\nann:${hash}\n`, 'users'),
        (error) => {
          assert.ok(isImagoError(error, 'BAD_HTPASSWD'));
          assert.match(error.message, words);
          assert.match(error.message, /users, line 2.*htpasswd -B/);
          assert.ok(!error.message.includes(hash));
          return true;
        },
      );
    });
  }

  test('all three names of bcrypt are taken', async () => {
    const known = readFileSync(lab.htpasswd({ ann: 'right' }), 'utf8').trim();
    for (const name of ['$2a$', '$2b$', '$2y$']) {
      const file = new PasswordFile(
        lab.file(
          'one',
          known.replace(/\$2.\$/, () => name),
        ),
      );
      assert.equal(await file.check('ann', 'right'), 'right');
      assert.equal(await file.check('ann', 'wrong'), 'wrong');
    }
  });

  test('a password beyond the 72 bytes that bcrypt looks at is wrong', async () => {
    const file = new PasswordFile(lab.htpasswd({ ann: 'x'.repeat(72) }, 'long'));
    assert.equal(await file.check('ann', 'x'.repeat(72)), 'right');
    assert.equal(await file.check('ann', `${'x'.repeat(72)}y`), 'wrong');
  });

  test('the loop goes on while passwords are checked, and an unknown user takes as long as a known one', async () => {
    // Made by htpasswd -nbBC 12: about 250 ms a check.
    const file = new PasswordFile(
      lab.file('dear', 'ann:$2y$12$C6UzMDM.H6dfI/f/IKcEeO7ZUQSvbqmM6YyMPlwCTkjuMYmlR0ODW\n'),
    );
    await file.check('ann', 'warm the thread up');
    let turns = 0;
    const watch = setInterval(() => turns++, 5);
    // The processor's time: a busy machine takes longer, and not more.
    const work = async (user: string): Promise<number> => {
      const start = process.cpuUsage();
      assert.equal(await file.check(user, `no ${user}`), 'wrong');
      const { user: own, system } = process.cpuUsage(start);
      return own + system;
    };
    const [known, unknown] = [await work('ann'), await work('nobody')];
    clearInterval(watch);
    assert.ok(turns >= 5, `${turns} turns of the loop`);
    assert.ok(unknown > known / 3, `${unknown} µs against ${known}`);
  });

  test('more checks at once than allowed are told to come again; one password of one user counts once', async () => {
    const file = new PasswordFile(lab.htpasswd({ ann: 'right' }, 'busy'));
    const same = await Promise.all(Array.from({ length: 20 }, () => file.check('ann', 'right')));
    assert.deepEqual(new Set(same), new Set(['right']));
    const guesses = await Promise.all(Array.from({ length: 20 }, (_, i) => file.check('ann', `guess ${i}`)));
    assert.equal(guesses.filter((result) => result === 'busy').length, 16);
    const users = await Promise.all(Array.from({ length: 100 }, (_, i) => file.check(`user ${i}`, 'x')));
    assert.equal(users.filter((result) => result === 'busy').length, 68);
    assert.equal(await file.check('ann', 'right'), 'right');
  });
});

describe('rules', () => {
  const permits = compileRules({
    groups: { team: ['ann', 'bob'] },
    anonymous: ['public/**'],
    rules: [
      { users: [], groups: ['team'], repositories: ['team/*'], actions: ['pull', 'push'] },
      { users: ['root'], groups: [], repositories: ['**'], actions: ['pull', 'push', 'delete', 'catalog'] },
      { users: ['*'], groups: [], repositories: ['shared/**', 'a.b'], actions: ['pull'] },
    ],
  });
  for (const [user, action, repository, allowed] of [
    ['ann', 'push', 'team/app', true],
    ['ann', 'push', 'team/app/web', false],
    ['ann', 'delete', 'team/app', false],
    ['ann', 'pull', 'shared/x/y', true],
    ['ann', 'pull', 'shared', false],
    ['ann', 'pull', 'a.b', true],
    ['ann', 'pull', 'axb', false],
    ['ann', 'catalog', undefined, false],
    ['root', 'catalog', undefined, true],
    ['root', 'delete', 'any/thing', true],
    ['eve', 'pull', 'team/app', false],
    ['eve', 'pull', undefined, true],
    [undefined, 'pull', undefined, false],
    [undefined, 'pull', 'public/x', true],
    [undefined, 'push', 'public/x', false],
    [undefined, 'pull', 'shared/x', false],
  ] as const) {
    test(`${user ?? 'anonymous'} may ${allowed ? '' : 'not '}${action} ${repository ?? 'at the root'}`, () => {
      assert.equal(permits(user, repository === undefined ? { action } : { action, repository }), allowed);
    });
  }
});

test('scopes', () => {
  assert.deepEqual(parseScopes(['repository:host:5000/a/b:pull,push registry:catalog:*', 'nonsense', 'repository:x']), [
    { type: 'repository', name: 'host:5000/a/b', actions: ['pull', 'push'] },
    { type: 'registry', name: 'catalog', actions: ['*'] },
  ]);
});

describe('passwords', () => {
  let rig: Rig;
  before(async () => {
    lab.htpasswd({ ann: 'secret', bob: 'hidden' }, 'users');
    rig = await lab.serve(`
auth:
  htpasswd: users
  rules:
    - { users: ann, actions: [pull, push, delete, catalog] }
    - { users: bob, repositories: 'team/**', actions: [pull] }
`);
    await pushImage(rig.url, 'team/app', 'v1', { user: 'ann:secret' });
    await pushImage(rig.url, 'other/app', 'v1', { user: 'ann:secret' });
  });

  test('without one, the challenge is Basic', async () => {
    const answer = await ask(`${rig.url}/v2/`);
    assert.equal(answer.status, 401);
    assert.equal(codeOf(answer), 'UNAUTHORIZED');
    assert.equal(challengeOf(answer).scheme, 'basic');
    assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
  });

  test('a wrong one and an unknown user are answered alike', async () => {
    const [wrong, unknown] = await Promise.all(
      ['ann:wrong', 'eve:wrong'].map((user) => ask(`${rig.url}/v2/`, { user })),
    );
    assert.equal(wrong!.status, 401);
    assert.deepEqual(wrong!.body, unknown!.body);
  });

  for (const [user, method, path, status] of [
    ['bob:hidden', 'GET', 'team/app/manifests/v1', 200],
    ['bob:hidden', 'GET', 'other/app/manifests/v1', 403],
    ['bob:hidden', 'POST', 'team/app/blobs/uploads/', 403],
    ['bob:hidden', 'DELETE', 'team/app/manifests/v1', 403],
    ['bob:hidden', 'GET', '_catalog', 403],
    ['ann:secret', 'GET', '_catalog', 200],
    ['ann:secret', 'GET', 'other/app/manifests/v1', 200],
  ] as const) {
    test(`${user.split(':')[0]}: ${method} ${path} is answered with ${status}`, async () => {
      const answer = await ask(`${rig.url}/v2/${path}`, { method, user });
      assert.equal(answer.status, status);
      if (status === 403) assert.equal(codeOf(answer), 'DENIED');
    });
  }

  test('a mount from where the user may not pull is an upload like any other', async () => {
    const { digest } = await pushImage(rig.url, 'other/app', 'v2', { user: 'ann:secret' });
    lab.htpasswd({ carl: 'x' }, 'more');
    const other = await lab.serve(
      `auth: { htpasswd: more, rules: [{ users: carl, repositories: 'team/*', actions: [pull, push] }] }`,
      { directory: rig.directory },
    );
    const answer = await ask(`${other.url}/v2/team/app/blobs/uploads/?mount=${digest}&from=other/app`, {
      method: 'POST',
      user: 'carl:x',
    });
    assert.equal(answer.status, 202);
  });

  test('a changed file counts; a broken one is not taken', async () => {
    lab.htpasswd({ ann: 'secret' }, 'changing');
    const own = await lab.serve('auth: { htpasswd: changing }');
    assert.equal((await ask(`${own.url}/v2/`, { user: 'ann:secret' })).status, 200);
    writeFileSync(`${lab.directory}/changing`, 'ann:garbage\n');
    const status = async (user: string): Promise<number> => (await ask(`${own.url}/v2/`, { user })).status;
    await until('it is told', async () => {
      assert.equal(await status('ann:secret'), 200);
      return own.log.some(({ causeCode }) => causeCode === 'BAD_HTPASSWD');
    });
    lab.htpasswd({ dan: 'new' }, 'changing');
    await until('it counts', async () => (await status('dan:new')) === 200);
    assert.equal(await status('ann:secret'), 401);
  });

  test('the log has users, refused ones too, and never a password', async () => {
    assert.ok(rig.log.some(({ user, status }) => user === 'bob' && status === 403));
    const text = JSON.stringify(rig.log);
    assert.match(text, /"user":"bob"/);
    for (const secret of ['secret', 'hidden', Buffer.from('ann:secret').toString('base64')]) {
      assert.ok(!text.includes(secret));
    }
  });
});

describe('own tokens', () => {
  const settings = `
auth:
  htpasswd: token-users
  anonymousPull: 'public/**'
  tokens: { keyFile: key }
  rules:
    - { users: ann, actions: [pull, push, delete] }
    - { users: bob, repositories: 'team/**', actions: [pull] }
`;
  let rig: Rig;
  before(async () => {
    lab.htpasswd({ ann: 'secret', bob: 'hidden' }, 'token-users');
    lab.file('key', 'k'.repeat(48));
    rig = await lab.serve(settings);
    await pushImage(rig.url, 'team/app', 'v1', { user: 'ann:secret' });
    await pushImage(rig.url, 'public/app', 'v1', { user: 'ann:secret' });
  });

  test('the challenge names realm, service and scope', async () => {
    const answer = await ask(`${rig.url}/v2/team/app/blobs/uploads/`, { method: 'POST' });
    assert.equal(answer.status, 401);
    assert.deepEqual(challengeOf(answer), {
      scheme: 'bearer',
      parameters: {
        realm: `${rig.url}/token`,
        service: 'imago-registry',
        scope: 'repository:team/app:pull,push',
      },
    });
  });

  for (const [user, method, path, status] of [
    [undefined, 'GET', '', 200],
    [undefined, 'GET', 'public/app/manifests/v1', 200],
    [undefined, 'GET', 'team/app/manifests/v1', 401],
    [undefined, 'POST', 'public/app/blobs/uploads/', 401],
    ['bob:hidden', 'GET', 'team/app/manifests/v1', 200],
    ['bob:hidden', 'POST', 'team/app/blobs/uploads/', 403],
    ['bob:wrong', 'GET', 'team/app/manifests/v1', 401],
    ['ann:secret', 'POST', 'team/app/blobs/uploads/', 202],
    ['ann:secret', 'GET', '_catalog', 403],
  ] as const) {
    test(`${user ?? 'anonymous'}: ${method} /v2/${path} ends with ${status}`, async () => {
      const answer = await askWithToken(`${rig.url}/v2/${path}`, { method, ...(user === undefined ? {} : { user }) });
      assert.equal(answer.status, status, answer.body.toString());
    });
  }

  test('the challenge of a mount names the source, too', async () => {
    const { digest } = await pushImage(rig.url, 'team/source', 'v1', { user: 'ann:secret' });
    const path = `${rig.url}/v2/team/mounted/blobs/uploads/?mount=${digest}&from=team/source`;
    const { scope } = challengeOf(await ask(path, { method: 'POST' })).parameters;
    assert.equal(scope, 'repository:team/mounted:pull,push repository:team/source:pull');
    assert.equal((await askWithToken(path, { method: 'POST', user: 'ann:secret' })).status, 201);
    const odd = `${rig.url}/v2/team/mounted/blobs/uploads/?mount=${digest}&from=a:push%20repository:b`;
    assert.equal(challengeOf(await ask(odd, { method: 'POST' })).parameters.scope, 'repository:team/mounted:pull,push');
  });

  test('a token is for its scope alone, and no other replica needs to have given it', async () => {
    const replica = await lab.serve(settings, { directory: rig.directory });
    const granted = await ask(`${rig.url}/token?service=imago-registry&scope=repository:team/app:pull`, {
      user: 'ann:secret',
    });
    const headers = { authorization: `Bearer ${jsonOf(granted).token}` };
    assert.equal((await ask(`${replica.url}/v2/team/app/manifests/v1`, { headers })).status, 200);
    const refused = await ask(`${replica.url}/v2/team/app/manifests/v1`, { method: 'DELETE', headers });
    assert.equal(refused.status, 401);
    assert.equal(challengeOf(refused).parameters.error, 'insufficient_scope');
    assert.equal(challengeOf(refused).parameters.scope, 'repository:team/app:delete');
  });

  test('OAuth2: a form with a password', async () => {
    const form = (fields: Record<string, string>): Promise<Answer> =>
      ask(`${rig.url}/token`, {
        method: 'POST',
        body: new URLSearchParams(fields).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      });
    const asked = { grant_type: 'password', username: 'bob', service: 'imago-registry', client_id: 'test' };
    const good = await form({ ...asked, password: 'hidden', scope: 'repository:team/app:pull,push' });
    assert.equal(good.status, 200);
    assert.equal(good.headers['cache-control'], 'no-store');
    const { access_token, scope, expires_in } = jsonOf(good);
    assert.equal(scope, 'repository:team/app:pull');
    assert.equal(expires_in, 300);
    const headers = { authorization: `Bearer ${access_token}` };
    assert.equal((await ask(`${rig.url}/v2/team/app/manifests/v1`, { headers })).status, 200);
    assert.equal((await form({ ...asked, password: 'wrong' })).status, 401);
    assert.equal((await form({ grant_type: 'refresh_token', refresh_token: 'x' })).status, 400);
    const large = await form({ ...asked, password: 'x'.repeat(100_000) });
    assert.equal(large.status, 400);
  });

  test('tokens of another key, of no key, expired or for another service are not taken', async () => {
    const sign = (key: string, claims: Record<string, unknown>): Promise<string> =>
      new SignJWT({
        access: [{ type: 'repository', name: 'team/app', actions: ['pull'] }],
        ...{ iss: 'imago-registry', aud: 'imago-registry', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 60 },
        ...claims,
      })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(Buffer.from(key));
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"ann"}').toString('base64url')}.`;
    const key = 'k'.repeat(48);
    const tokens = [
      await sign('j'.repeat(48), {}),
      await sign(key, { exp: Math.floor(Date.now() / 1000) - 60 }),
      await sign(key, { exp: undefined }),
      await sign(key, { aud: 'other' }),
      await sign(key, { iss: 'other' }),
      await sign(key, { nbf: Math.floor(Date.now() / 1000) + 1000 }),
      none,
      'nonsense',
      'x'.repeat(15_000),
    ];
    const good = await sign(key, {});
    const status = async (token: string): Promise<number> =>
      (await ask(`${rig.url}/v2/team/app/manifests/v1`, { headers: { authorization: `Bearer ${token}` } })).status;
    assert.equal(await status(good), 200);
    for (const token of tokens) assert.equal(await status(token), 401, token.slice(0, 40));
  });

  test('an Authorization of no known kind is refused, an empty one is none', async () => {
    const root = `${rig.url}/v2/public/app/manifests/v1`;
    for (const [authorization, status] of [
      ['Digest username="x"', 401],
      ['Basic ????', 401],
      ['Basic', 401],
      ['Basic Og==', 200],
    ] as const) {
      assert.equal((await ask(root, { headers: { authorization } })).status, status, authorization);
    }
  });

  test('a Host header cannot put words into the challenge', async () => {
    const answer = await ask(`${rig.url}/v2/`, { headers: { host: 'evil.example/",error="x' } }).catch(() => undefined);
    if (answer !== undefined && answer.status === 401) {
      assert.ok(!String(answer.headers['www-authenticate']).includes('evil'));
    }
  });
});

describe('tokens of a server elsewhere', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  let rig: Rig;
  before(async () => {
    lab.file('rsa.pem', rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string);
    lab.file(
      'keys.json',
      JSON.stringify({ keys: [{ ...ec.publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'ES256' }] }),
    );
    rig = await lab.serve(`
auth:
  jwt: { realm: 'https://auth.example/token', issuer: auth.example, service: registry, keys: rsa.pem, jwks: keys.json }
`);
  });

  const sign = (alg: string, key: Parameters<SignJWT['sign']>[0], header: object = {}): Promise<string> =>
    new SignJWT({ access: [{ type: 'repository', name: 'a/b', actions: ['pull', 'push'] }] })
      .setProtectedHeader({ alg, ...header })
      .setIssuer('auth.example')
      .setAudience('registry')
      .setSubject('ann')
      .setExpirationTime('2m')
      .sign(key);
  const open = (token: string, repository = 'a/b'): Promise<Answer> =>
    ask(`${rig.url}/v2/${repository}/blobs/uploads/`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
    });

  test('the challenge names its realm', async () => {
    const { parameters } = challengeOf(await ask(`${rig.url}/v2/`));
    assert.equal(parameters.realm, 'https://auth.example/token');
    assert.equal(parameters.service, 'registry');
  });

  test('signed by a key of the file or of the key set', async () => {
    assert.equal((await open(await sign('RS256', rsa.privateKey))).status, 202);
    assert.equal((await open(await sign('ES256', ec.privateKey, { kid: 'one' }))).status, 202);
  });

  test('the access claim decides', async () => {
    const token = await sign('RS256', rsa.privateKey);
    assert.equal((await open(token, 'a/c')).status, 401);
    const headers = { authorization: `Bearer ${token}` };
    assert.equal((await ask(`${rig.url}/v2/a/b/tags/list`, { method: 'DELETE', headers })).status, 405);
    assert.equal((await ask(`${rig.url}/v2/_catalog`, { headers })).status, 401);
  });

  test('another key, and a public key taken for a secret, are refused', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    assert.equal((await open(await sign('RS256', other.privateKey))).status, 401);
    const secret = Buffer.from(rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string);
    assert.equal((await open(await sign('HS256', secret))).status, 401);
  });
});
