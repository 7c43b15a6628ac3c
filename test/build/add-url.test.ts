import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { writeArchives } from './copy-cases.ts';
import { BuildLab } from './lab.ts';

/** What a path answers. */
interface Page {
  body?: string | Buffer;
  status?: number;
  headers?: Record<string, string>;
  /** 304 to a matching If-None-Match, as servers do. Default true. */
  conditional?: boolean;
  /** Answers so many requests with half of the body. */
  broken?: number;
}

class Site implements AsyncDisposable {
  readonly pages: Record<string, Page>;
  readonly requests: { path: string; headers: IncomingMessage['headers']; status: number }[] = [];
  readonly #server: Server;

  constructor(pages: Record<string, Page>) {
    this.pages = pages;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  async listen(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const page = this.pages[request.url!] ?? { status: 404, body: 'no' };
    const { body = '', status = 200, headers = {}, conditional = true, broken = 0 } = page;
    const same = conditional && headers.etag !== undefined && request.headers['if-none-match'] === headers.etag;
    const told = same ? 304 : status;
    this.requests.push({ path: request.url!, headers: request.headers, status: told });
    if (broken > 0 && !same) {
      page.broken = broken - 1;
      response.writeHead(told, { 'content-length': String(body.length), ...headers });
      response.write(body.slice(0, body.length / 2), () => response.destroy());
      return;
    }
    response.writeHead(told, headers).end(same ? undefined : body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

function open(pages: Record<string, Page>): Promise<Site> {
  return new Site(pages).listen();
}

const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** Times of the image's files, by path. */
function timeOf(lab: BuildLab, image: { diffIds: string[] }, path: string): number {
  const tar = readFileSync(lab.store.blobPath(image.diffIds[0] as `sha256:${string}`));
  const at = tar.indexOf(`${path}\0`);
  return Number.parseInt(tar.toString('latin1', at + 136, at + 147), 8);
}

describe('ADD of a URL', () => {
  it('gives a file of root, mode 0600, as old as the server says', async () => {
    await using site = await open({
      '/a/b.txt': { body: 'hello', headers: { 'last-modified': 'Sun, 06 Nov 1994 08:49:37 GMT' } },
    });
    using lab = new BuildLab();
    const { image } = await lab.build(`FROM scratch\nADD ${site.url}/a/b.txt /x/`);
    assert.deepEqual(lab.list(image), ['d 0755 0:0 x', 'f 0600 0:0 x/b.txt 5']);
    assert.equal(timeOf(lab, image, 'x/b.txt'), 784111777);
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
  });

  for (const [name, path, dest, want] of [
    ['is called as the path ends', '/a/b.txt?x=/y/z', '/x/', 'x/b.txt'],
    ['has a name from its destination', '/a/b.txt', '/x/name', 'x/name'],
    ['has none where the path has none', '/', '/x/', 'x/__unnamed__'],
    ['is decoded', '/a%20b', '/x/', 'x/a b'],
    ['does not leave with an encoded slash', '/..%2F..%2Fetc', '/x/', 'x/etc'],
    ['heeds no Content-Disposition', '/named', '/x/', 'x/named'],
  ] as const) {
    it(`${name}: ${path} to ${dest}`, async () => {
      const body = 'b';
      const headers = { 'content-disposition': 'attachment; filename="other"' };
      await using site = await open({ [path]: { body, headers } });
      using lab = new BuildLab();
      const { image } = await lab.build(`FROM scratch\nADD ${site.url}${path} ${dest}`);
      assert.equal(lab.list(image).at(-1), `f 0600 0:0 ${want} 1`);
      assert.equal(timeOf(lab, image, want), 0);
    });
  }

  it('--chown and --chmod count; several sources stay in order', async () => {
    await using site = await open({ '/u': { body: 'uu' } });
    using lab = new BuildLab();
    lab.write({ 'd/u': 'd', a: 'a' });
    const lines = `ADD --chown=7:8 --chmod=755 a ${site.url}/u d <<h /x/\n1\nh`;
    const { image } = await lab.build(`FROM scratch\n${lines}`);
    assert.deepEqual(lab.list(image), ['d 0755 7:8 x', 'f 0755 7:8 x/a 1', 'f 0755 7:8 x/h 2', 'f 0755 7:8 x/u 1']);
  });

  it('archives stay as they are, unless --unpack says so', async () => {
    using lab = new BuildLab();
    writeArchives(lab.context);
    const body = gzipSync(readFileSync(join(lab.context, 't.tar')));
    await using site = await open({ '/t.tar.gz': { body } });
    const packed = await lab.build(`FROM scratch\nADD ${site.url}/t.tar.gz /x/`);
    assert.deepEqual(lab.list(packed.image), ['d 0755 0:0 x', `f 0600 0:0 x/t.tar.gz ${body.length}`]);
    const unpacked = await lab.build(`FROM scratch\nADD --unpack=true ${site.url}/t.tar.gz /x/`);
    assert.deepEqual(lab.paths(unpacked.image), ['x', 'x/g', 'x/in', 'x/in/f', 'x/in/hard', 'x/in/sym']);
    assert.deepEqual(unpacked.cached, []);
  });

  it('what a server packs unasked is unpacked', async () => {
    await using site = await open({ '/f': { body: gzipSync('plain'), headers: { 'content-encoding': 'gzip' } } });
    using lab = new BuildLab();
    const { image } = await lab.build(`FROM scratch\nADD ${site.url}/f /f`);
    assert.equal(lab.read(image, 'f'), 'plain');
    assert.equal(site.requests[0]!.headers['accept-encoding'], 'identity');
  });

  it('a password of the URL goes to its host only, and is nowhere to be seen', async () => {
    await using other = await open({ '/f': { body: 'b' } });
    const location = other.url.replace('127.0.0.1', 'localhost');
    await using site = await open({ '/f': { status: 302, headers: { location: `${location}/f` } } });
    using lab = new BuildLab();
    const url = site.url.replace('http://', 'http://me:hush-hush@');
    const { image, events } = await lab.build(`FROM scratch\nADD ${url}/f /f`);
    const basic = Buffer.from('me:hush-hush').toString('base64');
    assert.equal(site.requests[0]!.headers.authorization, `Basic ${basic}`);
    assert.equal(other.requests[0]!.headers.authorization, undefined);
    assert.doesNotMatch(JSON.stringify(image.config), /hush/);
    assert.doesNotMatch(JSON.stringify(events), /hush/);
    site.pages['/f'] = { status: 404 };
    await assert.rejects(lab.build(`FROM scratch\nADD ${url}/f?sig=hush /g`), (error: Error) => {
      assert.match(error.message, /127\.0\.0\.1:\d+\/f\?…: invalid response status 404/);
      assert.doesNotMatch(error.message, /hush/);
      return true;
    });
  });

  it('a broken download begins anew; the third is the last', async () => {
    const body = Buffer.alloc(300_000, 7);
    await using site = await open({ '/f': { body, broken: 2 }, '/g': { body, broken: 9 } });
    using lab = new BuildLab();
    const { image } = await lab.build(`FROM scratch\nADD ${site.url}/f /f`);
    assert.deepEqual(lab.list(image), ['f 0600 0:0 f 300000']);
    await assert.rejects(lab.build(`FROM scratch\nADD ${site.url}/g /g`), { code: 'DOWNLOAD_BROKEN' });
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
  });

  it('goes through the proxy of the environment', async () => {
    await using proxy = await open({ 'http://files.invalid/f': { body: 'by proxy' } });
    using lab = new BuildLab();
    const { http_proxy, no_proxy } = process.env;
    process.env.http_proxy = proxy.url;
    process.env.no_proxy = '';
    try {
      const { image } = await lab.build('FROM scratch\nADD http://files.invalid/f /f');
      assert.equal(lab.read(image, 'f'), 'by proxy');
    } finally {
      for (const [name, value] of Object.entries({ http_proxy, no_proxy })) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });

  it('ends with the build', async () => {
    const hold = createServer((_, response) => void response.writeHead(200).write('some'));
    await new Promise<void>((done) => hold.listen(0, '127.0.0.1', done));
    try {
      using lab = new BuildLab();
      const { port } = hold.address() as AddressInfo;
      const signal = AbortSignal.timeout(200);
      await assert.rejects(lab.build(`FROM scratch\nADD http://127.0.0.1:${port}/f /f`, { signal }));
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    } finally {
      hold.closeAllConnections();
      hold.close();
    }
  });

  for (const [name, lines, code, message] of [
    ['a status', 'ADD SITE/no /x', 'REMOTE_STATUS', /\/no: invalid response status 404: check the URL/],
    ['a circle', 'ADD SITE/circle /x', 'BAD_REDIRECT', /redirects in a circle.*name the address/],
    ['another scheme', 'ADD SITE/ftp /x', 'BAD_REDIRECT', /another scheme/],
    [
      'a digest',
      `ADD --checksum=${sha256('other')} SITE/f /x`,
      'DIGEST_MISMATCH',
      /digest mismatch for .*\/f: wanted sha256/,
    ],
    ['a bad digest', 'ADD --checksum=md5:00 SITE/f /x', 'BAD_FLAG_VALUE', /invalid checksum digest format/],
    ['two sources', `ADD --checksum=${sha256('f')} SITE/f SITE/f /x/`, 'BAD_FLAG_VALUE', /multiple sources/],
    ['a local file', `ADD --checksum=${sha256('f')} f /x/`, 'BAD_FLAG_VALUE', /requires HTTP\(S\) or Git sources/],
    ['a coding', 'ADD SITE/br /x', 'BAD_ANSWER', /packed the file on its way/],
    ['no URL', 'ADD http://:0/ /x', 'BAD_SOURCE', /malformed URL/],
  ] as const) {
    it(`fails for ${name}`, async () => {
      await using site = await open({
        '/f': { body: 'f' },
        '/circle': { status: 301, headers: { location: '/circle' } },
        '/ftp': { status: 301, headers: { location: 'ftp://127.0.0.1/' } },
        '/br': { body: 'x', headers: { 'content-encoding': 'br' } },
      });
      using lab = new BuildLab();
      lab.write({ f: 'f' });
      const dockerfile = `FROM scratch\n${lines.replaceAll('SITE', site.url)}`;
      await assert.rejects(lab.build(dockerfile), (error: Error & { code: string; line: number }) => {
        assert.deepEqual([error.code, error.line], [code, 2], error.message);
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('more than ten redirects are too many', async () => {
    const chain = Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`/${i}`, { status: 302, headers: { location: `/${i + 1}` } }]),
    );
    await using site = await open({ ...chain, '/12': { body: 'end' } });
    using lab = new BuildLab();
    await assert.rejects(lab.build(`FROM scratch\nADD ${site.url}/0 /x`), { code: 'BAD_REDIRECT' });
    const { image } = await lab.build(`FROM scratch\nADD ${site.url}/2 /x`);
    assert.equal(lab.read(image, 'x'), 'end');
  });
});

describe('the cache of ADD of a URL', () => {
  const etag = (text: string): Record<string, string> => ({ etag: `"${text}"` });

  it('an ETag that is the same brings no bytes', async () => {
    await using site = await open({ '/f': { body: '1', headers: etag('1') } });
    using lab = new BuildLab();
    const build = () => lab.build(`FROM scratch\nADD ${site.url}/f /x`);
    await build();
    assert.equal((await build()).cached.length, 1);
    assert.deepEqual(
      site.requests.map(({ status }) => status),
      [200, 304],
    );
    site.pages['/f'] = { body: '2', headers: etag('2') };
    const changed = await build();
    assert.deepEqual([changed.cached.length, lab.read(changed.image, 'x')], [0, '2']);
    site.pages['/f'] = { body: '1', headers: etag('3') };
    assert.equal((await build()).cached.length, 1, 'what it was before is known by its content');
  });

  it('a server that does not know conditions is believed its ETag', async () => {
    await using site = await open({ '/f': { body: '1', headers: etag('1'), conditional: false } });
    using lab = new BuildLab();
    const build = () => lab.build(`FROM scratch\nADD ${site.url}/f /x`);
    await build();
    assert.equal((await build()).cached.length, 1);
  });

  it('without an ETag the content counts', async () => {
    await using site = await open({ '/f': { body: '1' } });
    using lab = new BuildLab();
    const build = () => lab.build(`FROM scratch\nADD ${site.url}/f /x`);
    await build();
    assert.equal((await build()).cached.length, 1);
    site.pages['/f'] = { body: '2' };
    const changed = await build();
    assert.deepEqual([changed.cached.length, lab.read(changed.image, 'x')], [0, '2']);
  });

  it('the time that the server says is part of the file', async () => {
    await using site = await open({
      '/f': { body: '1', headers: { 'last-modified': 'Sun, 06 Nov 1994 08:49:37 GMT' } },
    });
    using lab = new BuildLab();
    const build = () => lab.build(`FROM scratch\nADD ${site.url}/f /x`);
    await build();
    assert.equal((await build()).cached.length, 1);
    assert.equal(site.requests[1]!.headers['if-modified-since'], 'Sun, 06 Nov 1994 08:49:37 GMT');
    site.pages['/f'] = { body: '1', headers: { 'last-modified': 'Mon, 07 Nov 1994 08:49:37 GMT' } };
    assert.equal((await build()).cached.length, 0);
  });

  it('a checksum needs no network, whatever the host is called', async () => {
    await using site = await open({ '/f': { body: '1', headers: etag('1') } });
    using lab = new BuildLab();
    const build = (url: string, text = '1') => lab.build(`FROM scratch\nADD --checksum=${sha256(text)} ${url}/f /x`);
    await build(site.url);
    assert.equal((await build('http://127.0.0.1:1')).cached.length, 1);
    assert.equal(site.requests.length, 1);
    site.pages['/f'] = { body: '2', headers: etag('2') };
    assert.equal((await build(site.url, '2')).cached.length, 0);
  });

  it('another name, another destination and a layer that is gone are misses', async () => {
    await using site = await open({ '/f': { body: '1', headers: etag('1') }, '/g': { body: '1', headers: etag('1') } });
    using lab = new BuildLab();
    const build = (path: string, dest: string) => lab.build(`FROM scratch\nADD ${site.url}${path} ${dest}`);
    await build('/f', '/x/');
    assert.equal((await build('/g', '/x/')).cached.length, 0);
    assert.equal((await build('/f', '/y/')).cached.length, 0);
    assert.equal((await build('/f', '/x/')).cached.length, 1);
  });

  it('a version that changes between question and download is stored under its own name', async () => {
    await using site = await open({ '/f': { body: '1', headers: etag('1') } });
    using lab = new BuildLab();
    await lab.build(`FROM scratch\nADD ${site.url}/f /x`);
    // Known by its ETag, but not as this step: it is asked for, told to be the same, and then is another.
    const page = site.pages['/f']!;
    Object.defineProperty(site.pages, '/f', {
      get: () => (site.requests.length < 2 ? page : { body: '2', headers: etag('2') }),
    });
    const { image } = await lab.build(`FROM scratch\nADD ${site.url}/f /y`);
    assert.equal(lab.read(image, 'y'), '2');
    const again = await lab.build(`FROM scratch\nADD ${site.url}/f /y`);
    assert.deepEqual([again.cached.length, lab.read(again.image, 'y')], [1, '2']);
  });

  it('--no-cache asks without a condition', async () => {
    await using site = await open({ '/f': { body: '1', headers: etag('1') } });
    using lab = new BuildLab();
    await lab.build(`FROM scratch\nADD ${site.url}/f /x`);
    const { cached } = await lab.build(`FROM scratch\nADD ${site.url}/f /x`, { noCache: true });
    assert.deepEqual(cached, []);
    assert.deepEqual(
      site.requests.map(({ status }) => status),
      [200, 200],
    );
  });
});
