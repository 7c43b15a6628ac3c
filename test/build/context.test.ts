import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ContextNode } from '../../src/build/context/context.ts';
import { BuildLab, whyNoRun } from './lab.ts';

const COPY = 'FROM scratch\nCOPY . /app/';

/** Which files of the context are opened while `work` runs. */
async function opened(work: () => Promise<unknown>): Promise<string[]> {
  const names: string[] = [];
  const { open } = ContextNode.prototype;
  ContextNode.prototype.open = function (this: ContextNode) {
    names.push(this.name);
    return open.call(this);
  };
  try {
    await work();
  } finally {
    ContextNode.prototype.open = open;
  }
  return names;
}

/** As if the files had been there for a minute. */
async function later<T>(work: () => Promise<T>): Promise<T> {
  const { now } = Date;
  Date.now = () => now() + 60_000;
  try {
    return await work();
  } finally {
    Date.now = now;
  }
}

describe('reading the context', () => {
  const files = { a: '1', b: '2', 'd/c': '3' };

  it('a first build reads each file once', async () => {
    using lab = new BuildLab();
    lab.write(files);
    assert.deepEqual(await opened(() => lab.build(COPY)), ['a', 'b', 'd/c']);
  });

  it('a second one reads none, if they are of some age', async () => {
    using lab = new BuildLab();
    lab.write(files);
    await later(() => lab.build(COPY));
    assert.deepEqual(await opened(() => later(() => lab.build(COPY))), []);
  });

  it('files that were just written are read again: their times prove nothing', async () => {
    using lab = new BuildLab();
    lab.write(files);
    await lab.build(COPY);
    assert.deepEqual(await opened(() => lab.build(COPY)), ['a', 'b', 'd/c']);
  });

  it('only what changed is read to look a step up', async () => {
    using lab = new BuildLab();
    lab.write(files);
    await later(() => lab.build(COPY));
    utimesSync(join(lab.context, 'b'), 5, 5);
    assert.deepEqual(await opened(() => later(() => lab.build(COPY))), ['b']);
  });

  it('what is ignored is not even listed', async () => {
    using lab = new BuildLab();
    lab.write({ ...files, '.dockerignore': 'secret' });
    mkdirSync(join(lab.context, 'secret'), { mode: 0 });
    const { image } = await lab.build(COPY);
    assert.ok(!lab.paths(image).includes('app/secret'));
  });

  it('a file that changes while it is copied is an error, and no layer', async () => {
    for (const text of ['longer than it was', '']) {
      using lab = new BuildLab();
      lab.write(files);
      const change = (event: { type: string; name?: string }): void => {
        if (event.type === 'start' && event.name?.includes('/second')) writeFileSync(join(lab.context, 'b'), text);
      };
      const build = lab.build('FROM scratch\nCOPY . /first/\nCOPY . /second/', { onEvent: change });
      await assert.rejects(build, {
        code: 'CONTEXT_CHANGED',
        line: 3,
        message: /a file changed while it was copied \(second\/b\)/,
      });
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    }
  });

  it('a file that vanishes before it is copied is an error', async () => {
    using lab = new BuildLab();
    lab.write(files);
    const change = (event: { type: string; name?: string }): void => {
      if (event.type === 'start' && event.name?.includes('/second')) rmSync(join(lab.context, 'b'));
    };
    const build = lab.build('FROM scratch\nCOPY . /first/\nCOPY . /second/', { onEvent: change });
    await assert.rejects(build, { code: 'CONTEXT_UNREADABLE', message: /ENOENT \(b\): it changed while it was read/ });
  });

  it('notes of contexts that are long gone are forgotten', async () => {
    using lab = new BuildLab();
    lab.write(files);
    await later(() => lab.build(COPY));
    const cache = join(lab.store.root, 'cache');
    const old = new Date(Date.now() - 40 * 24 * 3600 * 1000);
    const notes = ['seen', 'inputs', 'stat'].flatMap((name) =>
      readdirSync(join(cache, name)).flatMap((file) => (file.startsWith('.swept') ? [] : [join(cache, name, file)])),
    );
    assert.equal(notes.length, 3);
    const markers = readdirSync(join(cache, 'seen')).filter((file) => file.startsWith('.swept'));
    for (const path of [...notes, ...markers.map((file) => join(cache, 'seen', file))]) utimesSync(path, old, old);
    await lab.build('FROM scratch\nCOPY a /');
    assert.equal(notes.filter((note) => existsSync(note)).length, 1, 'what this build wrote anew');
  });
});

describe('a context that is changed while a step runs', { skip: whyNoRun() }, () => {
  it('is copied as it is then', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ a: 'before', b: 'x' });
    const change = (event: { type: string }): void => {
      if (event.type === 'output') writeFileSync(join(lab.context, 'a'), 'after, and longer');
    };
    const { image } = await lab.build('FROM base\nCOPY b /\nRUN echo x\nCOPY a /', { onEvent: change });
    assert.equal(lab.read(image, 'a'), 'after, and longer');
  });
});
