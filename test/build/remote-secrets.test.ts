import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gitAuthorization, httpAuthorization } from '../../src/build/remote/secrets.ts';
import { ImagoError } from '../../src/core/errors.ts';
import { BuildLab } from './lab.ts';

const noGit = spawnSync('git', ['--version']).error === undefined ? false : 'git is not installed';
const SECRET = 'hunter2-hunter2-hunter2';
const BASIC = Buffer.from(`x-access-token:${SECRET}`).toString('base64');

/** Nothing in the store, nor in what was told, may hold the secret in any of its forms. */
function assertNotKept(lab: BuildLab, told: unknown): void {
  for (const word of [SECRET, BASIC]) {
    assert.ok(!JSON.stringify(told).includes(word));
    for (const entry of readdirSync(lab.directory, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      assert.ok(!readFileSync(join(entry.parentPath, entry.name)).includes(word), entry.name);
    }
  }
}

describe('secrets for what ADD fetches', () => {
  const site = new BuildLab();
  const seen: string[] = [];
  let server: Server;
  let host: string;
  /** Another host of the same name: ports tell origins apart. */
  let other: Server;

  before(async () => {
    site.write({ 'a.txt': 'one', Dockerfile: 'FROM scratch\nCOPY a.txt /' });
    const root = site.context;
    const allowed = new Set([`Bearer ${SECRET}`, `Basic ${BASIC}`, `Own ${SECRET}`]);
    other = createServer((request, response) => {
      seen.push(`other ${request.headers.authorization}`);
      response.end('elsewhere');
    });
    server = createServer((request, response) => {
      const { authorization = '' } = request.headers;
      seen.push(authorization);
      const path = new URL(request.url!, 'http://x').pathname;
      if (!allowed.has(authorization)) {
        // Some servers repeat what they were sent.
        response.writeHead(401, authorization).end(`no ${authorization}`);
      } else if (path === '/moved') {
        response.writeHead(302, { location: `http://127.0.0.1:${(other.address() as AddressInfo).port}/` }).end();
      } else {
        try {
          response.end(readFileSync(join(root, path)));
        } catch {
          response.writeHead(404).end();
        }
      }
    });
    for (const one of [server, other]) await new Promise<void>((done) => one.listen(0, '127.0.0.1', done));
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    if (noGit !== false) return;
    const git = (...args: string[]): unknown => execFileSync('git', ['-C', root, ...args], { stdio: 'ignore' });
    git('init', '-q', '-b', 'main');
    git('add', '-A');
    git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-q', '-m', 'one');
    execFileSync('git', ['clone', '-q', '--bare', root, join(root, 'repo.git')]);
    execFileSync('git', ['-C', join(root, 'repo.git'), 'update-server-info']);
  });

  after(() => {
    site[Symbol.dispose]();
    for (const one of [server, other]) {
      one.closeAllConnections();
      one.close();
    }
  });

  for (const [id, value] of [
    ['HTTP_AUTH_TOKEN_127.0.0.1', `${SECRET}\n`],
    ['HTTP_AUTH_HEADER_127.0.0.1', `Own ${SECRET}`],
  ] as const) {
    it(`${id} of a URL`, async () => {
      using lab = new BuildLab();
      const secrets = { [id]: { value } };
      const built = await lab.build(`FROM scratch\nADD http://${host}/a.txt /`, { secrets });
      assert.equal(lab.read(built.image, 'a.txt'), 'one');
      assertNotKept(lab, [built, lab.read(built.image, 'a.txt')]);
    });
  }

  it('is sent to no other host', async () => {
    using lab = new BuildLab();
    const secrets = { 'HTTP_AUTH_TOKEN_127.0.0.1': { value: SECRET } };
    await lab.build(`FROM scratch\nADD http://${host}/moved /`, { secrets });
    assert.ok(seen.includes('other undefined'));
  });

  it('without it, and with a wrong one, the server refuses; nothing of it is told', async () => {
    using lab = new BuildLab();
    const dockerfile = `FROM scratch\nADD http://${host}/a.txt /`;
    await assert.rejects(lab.build(dockerfile), /invalid response status 401/);
    const secrets = { 'HTTP_AUTH_HEADER_127.0.0.1': { value: `Wrong ${SECRET}` } };
    const error = await lab.build(dockerfile, { secrets }).catch((e: unknown) => e as Error);
    assert.match((error as Error).message, /invalid response status 401/);
    assertNotKept(lab, `${error} ${(error as Error).stack} ${JSON.stringify(error)}`);
  });

  it('GIT_AUTH_TOKEN of a repository, as a source and as the context', { skip: noGit }, async () => {
    using lab = new BuildLab();
    const url = `http://${host}/repo.git`;
    for (const id of ['GIT_AUTH_TOKEN', `GIT_AUTH_TOKEN.${host}`]) {
      const secrets = { [id]: { value: SECRET } };
      const dockerfile = `FROM scratch\nADD --keep-git-dir ${url} /src`;
      const added = await lab.build(dockerfile, { secrets, noCache: true });
      assert.equal(lab.read(added.image, 'src/a.txt'), 'one');
      const { id: built } = await lab.build('', { context: url, file: undefined, secrets } as never);
      assert.ok(built);
      assertNotKept(lab, added);
    }
    const error = await lab
      .build(`FROM scratch\nADD ${url} /`, { secrets: { GIT_AUTH_HEADER: { value: `Wrong ${SECRET}` } } })
      .catch((e: unknown) => e as Error);
    assert.equal((error as ImagoError).code, 'GIT_FAILED');
    assertNotKept(lab, `${error} ${JSON.stringify(error)}`);
  });

  it('which is chosen', () => {
    const read = (given: Record<string, string>) => ({
      readSecret: (id: string) => (given[id] === undefined ? undefined : Buffer.from(given[id])),
    });
    const { HTTP, both } = { HTTP: new URL('https://h.example:8443/x'), both: { GIT_AUTH_TOKEN: 't' } };
    const http = { 'HTTP_AUTH_HEADER_h.example': 'a b', 'HTTP_AUTH_TOKEN_h.example': 't', GIT_AUTH_TOKEN: 'x' };
    assert.equal(httpAuthorization(HTTP, read(http)), 'Bearer t');
    assert.equal(httpAuthorization(HTTP, read({ HTTP_AUTH_HEADER_other: 'a b' })), undefined);
    const git = { ...both, 'GIT_AUTH_HEADER.h:1': 'own', GIT_AUTH_HEADER: 'all' };
    assert.equal(gitAuthorization('https://h:1/x.git', read(git)), 'own');
    assert.equal(gitAuthorization('https://g/x.git', read(git)), 'all');
    assert.equal(gitAuthorization('https://g/x.git', read(both)), 'Basic eC1hY2Nlc3MtdG9rZW46dA==');
    for (const url of ['ssh://g/x.git', 'git@g:x.git', 'git://g/x'])
      assert.equal(gitAuthorization(url, read(git)), undefined);
    for (const bad of ['two\nlines', '', 'ü'])
      assert.throws(
        () => gitAuthorization('https://g/x.git', read({ GIT_AUTH_TOKEN: bad })),
        (error) => error instanceof ImagoError && error.code === 'BAD_SECRET',
      );
  });
});
