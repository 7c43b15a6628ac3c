import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../until.ts';
import { RegistryLab } from './lab.ts';

const BYTES = randomBytes(20_000_003);
const DIGEST = `sha256:${createHash('sha256').update(BYTES).digest('hex')}` as const;
const PATH = `/v2/big/blobs/${DIGEST}`;

describe('a large blob', () => {
  let lab: RegistryLab;
  before(async () => {
    lab = await RegistryLab.start();
    assert.equal(await lab.pushBlob('big', BYTES), DIGEST);
  });
  after(() => lab[Symbol.asyncDispose]());

  test('comes whole, again and again over one connection, and by range', async () => {
    for (let i = 0; i < 3; i++) assert.ok((await lab.get(PATH)).body.equals(BYTES));
    for (const [start, end] of [
      [0, 999_999],
      [19_000_000, 20_000_002],
      [7, 12_345_678],
    ] as const) {
      const part = await lab.get(PATH, { Range: `bytes=${start}-${end}` });
      assert.equal(part.status, 206);
      assert.ok(part.body.equals(BYTES.subarray(start, end + 1)));
    }
  });

  test('comes to a client that asks twice before it reads, each answer in its turn', async () => {
    const socket = connect(lab.port, '127.0.0.1');
    const request = `GET ${PATH} HTTP/1.1\r\nHost: x\r\n`;
    socket.write(`${request}\r\n${request}Connection: close\r\n\r\n`);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    let rest = Buffer.concat(chunks);
    for (let i = 0; i < 2; i++) {
      const body = rest.indexOf('\r\n\r\n') + 4;
      assert.ok(rest.subarray(body, body + BYTES.length).equals(BYTES), `answer ${i}`);
      rest = rest.subarray(body + BYTES.length);
    }
    assert.equal(rest.length, 0);
  });

  test('comes to a slow reader, while others read', async () => {
    const socket = connect(lab.port, '127.0.0.1');
    socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const hash = createHash('sha256');
    let headers: Buffer | undefined = Buffer.alloc(0);
    const reading = (async () => {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        if (headers === undefined) hash.update(chunk);
        else {
          headers = Buffer.concat([headers, chunk]);
          const body = headers.indexOf('\r\n\r\n');
          if (body >= 0) {
            hash.update(headers.subarray(body + 4));
            headers = undefined;
          }
        }
        await sleep(1);
      }
    })();
    const others = Array.from({ length: 8 }, async () => (await lab.get(PATH)).body.equals(BYTES));
    assert.deepEqual(await Promise.all(others), Array(8).fill(true));
    await reading;
    assert.equal(`sha256:${hash.digest('hex')}`, DIGEST);
  });

  test('holds nothing open once its client has gone', async () => {
    const open = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).includes(DIGEST.slice(7));
        } catch {
          return false;
        }
      }).length;
    for (let i = 0; i < 20; i++) {
      const socket = connect(lab.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await once(socket, 'data');
      socket.destroy();
    }
    await until('nothing is open', () => open() === 0);
    assert.ok((await lab.get(PATH)).body.equals(BYTES), 'and others are served');
  });
});
