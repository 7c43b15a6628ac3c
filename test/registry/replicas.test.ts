import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { s3SkipReason, startS3 } from './rgw.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const MIB = 2 ** 20;
const CLIENTS = 32;
/** 100 for the full size. */
const LAYER = Number(process.env.IMAGO_TEST_REPLICAS_MIB ?? 3) * MIB;
const CHUNK = Math.ceil(LAYER / 4);

describe('replicas over one bucket', { skip: s3SkipReason() }, () => {
  it(`lose no acknowledged push of ${CLIENTS} clients when two of three are killed`, async (t) => {
    await using s3 = await startS3();
    const url = s3.url();
    const balancer = new Balancer();
    const replicas = await Promise.all([1, 2, 3].map(() => startReplica(url)));
    for (const replica of replicas) balancer.add(replica.port);
    const shared = randomBytes(LAYER);
    try {
      let done = 0;
      const quarter = Math.ceil((CLIENTS * 2) / 4);
      const onBlob = (): void => {
        if (++done === quarter || done === 2 * quarter) replicas[done / quarter - 1]!.child.kill('SIGKILL');
      };
      const started = Date.now();
      const images = await Promise.all(
        Array.from({ length: CLIENTS }, (_, i) => pushImage(balancer, `team${i % 5}/app${i}`, shared, onBlob)),
      );
      const pushed = Date.now();
      assert.deepEqual(
        replicas.map((replica) => replica.child.signalCode),
        ['SIGKILL', 'SIGKILL', null],
      );
      const last = new Balancer();
      last.add(replicas[2]!.port);
      for (const image of images) await pullImage(last, image);
      const { failures } = balancer;
      assert.ok(failures > 0, 'nobody noticed the kills');
      t.diagnostic(
        `pushed in ${pushed - started} ms, ${failures} requests failed, pulled in ${Date.now() - pushed} ms`,
      );
    } finally {
      for (const { child } of replicas) child.kill('SIGKILL');
    }
  });
});

interface Replica {
  child: ChildProcess;
  port: number;
}

async function startReplica(storage: string): Promise<Replica> {
  const child = spawn(process.execPath, [MAIN, 'registry', 'serve', '--address', '127.0.0.1:0', '--storage', storage], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! });
  for await (const line of lines) {
    const port = /"url":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(line)?.[1];
    if (port === undefined) continue;
    child.stdout!.resume();
    return { child, port: Number(port) };
  }
  throw new Error('a replica did not start');
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Sends each request to any replica, and drops one that is dead, as a load balancer does. */
class Balancer {
  failures = 0;
  readonly #ports: number[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  add(port: number): void {
    this.#ports.push(port);
  }

  async send(method: string, path: string, headers: OutgoingHttpHeaders = {}, body?: Buffer): Promise<Answer> {
    const port = this.#ports[Math.floor(Math.random() * this.#ports.length)]!;
    try {
      return await this.#send(port, method, path, headers, body);
    } catch (error) {
      this.failures++;
      const { code } = error as NodeJS.ErrnoException;
      const at = this.#ports.indexOf(port);
      if (code === 'ECONNREFUSED' && at >= 0) this.#ports.splice(at, 1);
      throw error;
    }
  }

  async #send(
    port: number,
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    body?: Buffer,
  ): Promise<Answer> {
    const length = body === undefined ? {} : { 'Content-Length': body.length };
    const sent = request({ port, method, path, agent: this.#agent, headers: { ...headers, ...length } });
    // An answer may come before the body is sent; the body's broken pipe is no news then.
    const answered = once(sent, 'response') as Promise<[import('node:http').IncomingMessage]>;
    sent.end(body);
    const [response] = await answered;
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) };
  }

  /** Again until the answer is not the fault of a replica. */
  async insist(method: string, path: string, headers?: OutgoingHttpHeaders, body?: Buffer): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.send(method, path, headers, body);
        if (answer.status < 500 || attempt === 60) return answer;
      } catch (error) {
        if (attempt === 60) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 20 * Math.random() * attempt));
    }
  }
}

interface Image {
  repository: string;
  manifest: Buffer;
  layers: string[];
}

async function pushImage(balancer: Balancer, repository: string, shared: Buffer, onBlob: () => void): Promise<Image> {
  const own = randomBytes(LAYER);
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', own: digestOf(own) }));
  for (const blob of [config, shared, own]) {
    await pushBlob(balancer, repository, blob);
    if (blob !== config) onBlob();
  }
  const describe = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: [shared, own].map((bytes) => describe('application/vnd.oci.image.layer.v1.tar', bytes)),
    }),
  );
  const path = `/v2/${repository}/manifests/latest`;
  const { status, body } = await balancer.insist('PUT', path, { 'Content-Type': MANIFEST }, manifest);
  assert.equal(status, 201, body.toString());
  return { repository, manifest, layers: [config, shared, own].map(digestOf) };
}

/** As clients do: asks first, sends chunks, asks where to go on after a break, and begins anew where that is not known. */
async function pushBlob(balancer: Balancer, repository: string, bytes: Buffer): Promise<void> {
  const digest = digestOf(bytes);
  const base = `/v2/${repository}/blobs`;
  for (let attempt = 0; attempt < 40; attempt++) {
    if ((await balancer.insist('HEAD', `${base}/${digest}`)).status === 200) return;
    const { status, headers } = await balancer.insist('POST', `${base}/uploads/`);
    assert.equal(status, 202);
    const location = headers.location!;
    if (!(await sendChunks(balancer, location, bytes))) continue;
    const ended = await balancer.send('PUT', `${location}?digest=${digest}`).catch(() => undefined);
    if (ended?.status === 201) return;
  }
  throw new Error(`${digest} cannot be pushed`);
}

async function sendChunks(balancer: Balancer, location: string, bytes: Buffer): Promise<boolean> {
  let offset = 0;
  for (let faults = 0; offset < bytes.length; ) {
    const chunk = bytes.subarray(offset, offset + CHUNK);
    const range = `${offset}-${offset + chunk.length - 1}`;
    let answer = await balancer.send('PATCH', location, { 'Content-Range': range }, chunk).catch(() => undefined);
    if (answer?.status !== 202) {
      if (++faults > 20) return false;
      await new Promise((resolve) => setTimeout(resolve, 100 * Math.random()));
      answer = await balancer.insist('GET', location);
      if (answer.status !== 204) return false;
    }
    const end = Number(/-(\d+)$/.exec(answer.headers.range ?? '')?.[1]);
    offset = end === 0 ? 0 : end + 1;
  }
  return true;
}

async function pullImage(balancer: Balancer, image: Image): Promise<void> {
  const { status, body } = await balancer.send('GET', `/v2/${image.repository}/manifests/latest`);
  assert.equal(status, 200, `${image.repository}: ${body.toString()}`);
  assert.ok(body.equals(image.manifest));
  for (const digest of image.layers) {
    const blob = await balancer.send('GET', `/v2/${image.repository}/blobs/${digest}`);
    assert.equal(blob.status, 200, `${image.repository} lacks ${digest}`);
    assert.equal(digestOf(blob.body), digest);
  }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
