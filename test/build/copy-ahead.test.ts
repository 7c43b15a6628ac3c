import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { BuildLab, whyNoRun } from './lab.ts';

/** A file that is served, and when it was asked for. */
class Served implements AsyncDisposable {
  readonly asked: number[] = [];
  readonly #server = createServer((_, response) => {
    this.asked.push(performance.now());
    response.end('served');
  });

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

describe('links are made while what is before them runs', { skip: whyNoRun() }, () => {
  const build = async (lines: string): Promise<{ early: boolean; text: string | undefined }> => {
    await using served = await new Served().listen();
    using lab = new BuildLab();
    await lab.importBase();
    let ran = 0;
    const { image } = await lab.build(`FROM base\n${lines.replaceAll('URL', served.url)}`, {
      onEvent: (event) => {
        if (event.type === 'output' && Buffer.from(event.data).includes('ran')) ran = performance.now();
      },
    });
    assert.equal(served.asked.length, 1);
    return { early: served.asked[0]! < ran, text: lab.read(image, 'w/file') };
  };

  it('a link, its variables and its directory as its step will see them', async () => {
    const lines = 'RUN sleep 1; echo ran\nENV name=file\nWORKDIR /w\nADD --link --chown=1:2 URL/f $name';
    assert.deepEqual(await build(lines), { early: true, text: 'served' });
  });

  for (const [what, lines] of [
    ['what is no link', 'RUN sleep 1; echo ran\nADD URL/f /w/file'],
    ['one with --chmod, which is none', 'RUN sleep 1; echo ran\nADD --link --chmod=600 URL/f /w/file'],
    ['one whose owner the image names', 'RUN sleep 1; echo ran\nADD --link --chown=bob URL/f /w/file'],
  ] as const) {
    it(`not ${what}`, async () => assert.deepEqual(await build(lines), { early: false, text: 'served' }));
  }

  it('the error is that of the step that failed first, and nothing is left', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile = 'FROM base\nRUN sleep 0.3; exit 3\nCOPY --link nope /x';
    await assert.rejects(lab.build(dockerfile), { code: 'RUN_FAILED', line: 2 });
    await assert.rejects(lab.build('FROM base\nRUN true\nCOPY --link nope /x'), {
      code: 'COPY_SOURCE_NOT_FOUND',
      line: 3,
    });
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
  });
});
