import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { isImagoError } from '../../src/core/errors.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';

/** A place to keep things in: each call opens it once more, as another replica would. */
export interface StoragePlace extends AsyncDisposable {
  open(): Promise<RegistryStorage>;
}

const MIB = 2 ** 20;

/** What every storage of the registry has to do, whatever it is made of. */
export function storageContract(name: string, skip: string | false, makePlace: () => Promise<StoragePlace>): void {
  describe(`registry storage: ${name}`, { skip }, () => {
    let place: StoragePlace;
    let here: RegistryStorage;
    let there: RegistryStorage;
    before(async () => {
      place = await makePlace();
      here = await place.open();
      there = await place.open();
    });
    after(async () => {
      await here?.close();
      await there?.close();
      await place?.[Symbol.asyncDispose]();
    });

    it('can be read and written', async () => {
      await here.check();
      await there.check();
    });

    describe('documents', () => documentContract(() => [here, there]));
    describe('blobs', () => blobContract(() => [here, there]));
    describe('uploads', () => uploadContract(() => [here, there]));
  });
}

type Pair = () => [here: RegistryStorage, there: RegistryStorage];

function documentContract(pair: Pair): void {
  it('reads what was written, from another replica, and misses what was not', async () => {
    const [here, there] = pair();
    const start = Date.now();
    const version = await here.writeDocument('read/a', Buffer.from('one'));
    const read = await there.readDocument('read/a');
    assert.equal(read?.bytes.toString(), 'one');
    assert.equal(read?.version, version);
    assert.ok(Math.abs(read.modified - start) < 5000, `modified ${read.modified}, now ${start}`);
    assert.equal(await there.readDocument('read/b'), undefined);
    assert.equal(await there.readDocument('read'), undefined);
  });

  it('knows when a document was written last, and its listing, too', async () => {
    const [here, there] = pair();
    const first = await here.writeDocument('written/a', Buffer.from('same'));
    const { modified } = (await there.readDocument('written/a'))!;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await here.writeDocument('written/a', Buffer.from('same'), { expect: first });
    const again = (await there.readDocument('written/a'))!;
    assert.ok(again.modified > modified, `${again.modified}, ${modified}`);
    const { keys } = await there.listDocuments('written/');
    // Some tell it to the second.
    assert.ok(Math.abs(keys[0]!.modified - again.modified) < 1000, `${keys[0]!.modified}, ${again.modified}`);
    await assert.rejects(here.deleteDocument('written/a', { expect: first }), { code: 'STORAGE_CONFLICT' });
  });

  it('keeps bytes as they are, none and 4 MiB of them, and refuses more', async () => {
    const [here, there] = pair();
    for (const size of [0, 1, 255, 4 * MIB]) {
      const bytes = randomBytes(size);
      await here.writeDocument('sizes/x', bytes);
      assert.deepEqual((await there.readDocument('sizes/x'))?.bytes, bytes);
    }
    await rejects(here.writeDocument('sizes/x', Buffer.alloc(4 * MIB + 1)), 'STORAGE_TOO_LARGE');
    assert.equal((await there.readDocument('sizes/x'))?.bytes.length, 4 * MIB);
  });

  it('writes over the version that was expected, and over nothing else', async () => {
    const [here, there] = pair();
    const first = await here.writeDocument('cas/a', Buffer.from('1'), { expect: 'absent' });
    await rejects(there.writeDocument('cas/a', Buffer.from('x'), { expect: 'absent' }), 'STORAGE_CONFLICT');
    const second = await there.writeDocument('cas/a', Buffer.from('2'), { expect: first });
    assert.notEqual(second, first);
    await rejects(here.writeDocument('cas/a', Buffer.from('x'), { expect: first }), 'STORAGE_CONFLICT');
    await rejects(here.writeDocument('cas/none', Buffer.from('x'), { expect: first }), 'STORAGE_CONFLICT');
    assert.equal((await here.readDocument('cas/a'))?.bytes.toString(), '2');
    assert.equal(await here.deleteDocument('cas/a'), true);
    assert.equal(await there.deleteDocument('cas/a'), false);
    await rejects(here.writeDocument('cas/a', Buffer.from('x'), { expect: second }), 'STORAGE_CONFLICT');
    await here.writeDocument('cas/a', Buffer.from('3'), { expect: 'absent' });
  });

  it('lets exactly one of many win', async () => {
    const both = pair();
    for (let round = 0; round < 5; round++) {
      const before = round === 0 ? 'absent' : (await both[0].readDocument('cas/race'))!.version;
      const results = await Promise.allSettled(
        Array.from({ length: 16 }, (_, i) =>
          both[i % 2]!.writeDocument('cas/race', Buffer.from(`${round}.${i}`), { expect: before }),
        ),
      );
      const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
      assert.equal(winners.length, 1, `round ${round}: ${winners.length} winners`);
      for (const result of results) {
        if (result.status === 'rejected') assert.ok(isImagoError(result.reason, 'STORAGE_CONFLICT'), result.reason);
      }
      assert.equal((await both[1].readDocument('cas/race'))?.bytes.toString(), `${round}.${winners[0]}`);
    }
  });

  it('counts right when many increment', async () => {
    const both = pair();
    await both[0].writeDocument('cas/count', Buffer.from('0'));
    const increment = async (storage: RegistryStorage): Promise<void> => {
      for (;;) {
        const { bytes, version } = (await storage.readDocument('cas/count'))!;
        try {
          await storage.writeDocument('cas/count', Buffer.from(String(Number(bytes) + 1)), { expect: version });
          return;
        } catch (error) {
          assert.ok(isImagoError(error, 'STORAGE_CONFLICT'), String(error));
        }
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, i) => increment(both[i % 2]!)));
    assert.equal((await both[0].readDocument('cas/count'))?.bytes.toString(), '12');
  });

  it('deletes the version that was seen, and no later one, though both say the same', async () => {
    const [here, there] = pair();
    const first = await here.writeDocument('del/a', Buffer.from('same'));
    const second = await there.writeDocument('del/a', Buffer.from('same'));
    assert.notEqual(first, second);
    await rejects(here.deleteDocument('del/a', { expect: first }), 'STORAGE_CONFLICT');
    assert.deepEqual(await listAll(here, 'del/', 10), ['del/a']);
    assert.equal(await here.deleteDocument('del/a', { expect: second }), true);
    assert.equal(await there.deleteDocument('del/a', { expect: second }), false);
    assert.equal(await there.deleteDocument('del/a'), false);
    assert.equal(await there.readDocument('del/a'), undefined);
    assert.deepEqual(await listAll(there, 'del/', 10), []);
    await rejects(here.writeDocument('del/a', Buffer.from('x'), { expect: second }), 'STORAGE_CONFLICT');
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) =>
        pair()[i % 2]!.writeDocument('del/a', Buffer.from('new'), { expect: 'absent' }),
      ),
    );
    assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
    assert.equal((await there.readDocument('del/a'))?.bytes.toString(), 'new');
  });

  it('deletes or replaces one version, never both', async () => {
    const [here, there] = pair();
    for (let round = 0; round < 10; round++) {
      const version = await here.writeDocument('del/race', Buffer.from('old'));
      const [deleted, written] = await Promise.allSettled([
        here.deleteDocument('del/race', { expect: version }),
        there.writeDocument('del/race', Buffer.from('new'), { expect: version }),
      ]);
      const now = (await here.readDocument('del/race'))?.bytes.toString();
      assert.notEqual(deleted.status, written.status);
      assert.equal(now, written.status === 'fulfilled' ? 'new' : undefined);
    }
  });

  it('refuses keys that could lead elsewhere', async () => {
    const [here] = pair();
    const bad = [
      '',
      '/',
      'a/',
      '/a',
      'a//b',
      '.',
      '..',
      'a/../b',
      'a/./b',
      'a b',
      'a\\b',
      'ä',
      'a\0',
      'a\nb',
      'a,',
      'a%2f',
    ];
    bad.push('x'.repeat(201), Array.from({ length: 9 }, () => 'y'.repeat(100)).join('/'));
    for (const key of bad) {
      await rejects(here.writeDocument(key, Buffer.from('x')), 'STORAGE_BAD_KEY');
      await rejects(here.readDocument(key), 'STORAGE_BAD_KEY');
      await rejects(here.deleteDocument(key), 'STORAGE_BAD_KEY');
    }
    for (const prefix of ['..', '../', 'a/../', '/', 'a', 'a//']) {
      await rejects(here.listDocuments(prefix), 'STORAGE_BAD_KEY');
    }
    const good = ['odd/...', 'odd/-', 'odd/A', 'odd/a', 'odd/a:b@c+d=e', `odd/${'z'.repeat(200)}`];
    for (const key of good) await here.writeDocument(key, Buffer.from(key));
    for (const key of good) assert.equal((await here.readDocument(key))?.bytes.toString(), key);
  });

  it('lists in the order of bytes, whatever is nested in what', async () => {
    const [here, there] = pair();
    const keys = ['a', 'a/b', 'a-b', 'a.b/c', 'a/b/c', 'A', 'a/b-c', 'a0', 'a_b', 'b/c/d/e', 'a=', 'a+/x'];
    const full = keys.map((key) => `order/${key}`);
    await Promise.all(full.map((key) => here.writeDocument(key, Buffer.from('x'))));
    const sorted = [...full].sort();
    assert.deepEqual(await listAll(there, 'order/', 1000), sorted);
    for (const limit of [1, 2, 5]) assert.deepEqual(await listAll(there, 'order/', limit), sorted);
    assert.deepEqual(await listAll(there, 'order/a/', 2), ['order/a/b', 'order/a/b-c', 'order/a/b/c']);
    for (const after of sorted) {
      const { keys: rest } = await there.listDocuments('order/', { after });
      assert.deepEqual(
        rest.map((entry) => entry.key),
        sorted.slice(sorted.indexOf(after) + 1),
        `after ${after}`,
      );
    }
    assert.deepEqual(await listAll(there, 'nothing/', 10), []);
    for (const key of full) await there.deleteDocument(key);
    assert.deepEqual(await listAll(here, 'order/', 10), []);
  });

  it('lists 2,500 keys by pages, with their times', async () => {
    const [here, there] = pair();
    const keys = Array.from({ length: 2500 }, (_, i) => `many/${i % 7}/k${i}`).sort();
    await inParallel(keys, 25, (key) => here.writeDocument(key, Buffer.from(key)));
    const first = await there.listDocuments('many/');
    assert.equal(first.keys.length, 1000);
    assert.ok(first.keys.every((entry) => Math.abs(entry.modified - Date.now()) < 120_000));
    assert.deepEqual(await listAll(there, 'many/', 1000), keys);
  });

  it('lists what stays there once, whatever is written beside it', async () => {
    const [here, there] = pair();
    const stable = Array.from({ length: 60 }, (_, i) => `busy/s${String(i).padStart(2, '0')}`);
    await inParallel(stable, 20, (key) => here.writeDocument(key, Buffer.from('x')));
    let going = true;
    const churn = async (storage: RegistryStorage, name: string): Promise<void> => {
      for (let i = 0; going; i++) {
        await storage.writeDocument(stable[i % stable.length]!, Buffer.from(name + i));
        await storage.writeDocument(`busy/${name}${i % 20}/x`, Buffer.from('x'));
        await storage.deleteDocument(`busy/${name}${(i * 7) % 20}/x`);
      }
    };
    const churning = Promise.all([churn(here, 'r'), churn(there, 't')]);
    try {
      for (let round = 0; round < 15; round++) {
        const listed = await listAll(round % 2 ? here : there, 'busy/', 16);
        assert.deepEqual(
          listed.filter((key) => /\/s\d\d$/.test(key)),
          stable,
        );
        assert.equal(new Set(listed).size, listed.length);
      }
    } finally {
      going = false;
      await churning;
    }
  });
}

function blobContract(pair: Pair): void {
  for (const size of [0, 1, 65_536, 65_537, 4 * MIB, 4 * MIB + 1, 18 * MIB]) {
    it(`keeps ${size} bytes, and reads all and parts of them`, async () => {
      const [here, there] = pair();
      const { bytes, digest } = sample(size);
      await upload(here, digest, bytes);
      const stat = await there.statBlob(digest);
      assert.equal(stat?.size, size);
      assert.ok(Math.abs(stat.modified - Date.now()) < 60_000);
      assert.ok((await readBlob(there, digest)).equals(bytes));
      const cuts = [0, 1, 65_535, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, size - 1, size];
      for (const start of cuts) {
        for (const end of cuts) {
          if (start < 0 || end > size || start >= end) continue;
          const part = await readBlob(there, digest, { start, end });
          assert.ok(part.equals(bytes.subarray(start, end)), `${start}-${end}`);
        }
      }
    });
  }

  it('keeps sha512', async () => {
    const [here, there] = pair();
    const bytes = randomBytes(1000);
    const digest: Digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    await here.putBlob(digest, bytes);
    assert.ok((await readBlob(there, digest)).equals(bytes));
  });

  it('puts what is in memory, small and large', async () => {
    const [here, there] = pair();
    for (const size of [0, 700, 4 * MIB, 11 * MIB]) {
      const { bytes, digest } = sample(size);
      await here.putBlob(digest, bytes);
      assert.ok((await readBlob(there, digest)).equals(bytes));
    }
  });

  it('misses what is not there', async () => {
    const [here] = pair();
    const { digest } = sample(10);
    assert.equal(await here.statBlob(digest), undefined);
    assert.equal(await here.openBlob(digest), undefined);
    assert.equal(await here.removeBlob(digest, 'x'), false);
  });

  it('can be given back unread, half read and read', async () => {
    const [here] = pair();
    const { bytes, digest } = sample(12 * MIB);
    await upload(here, digest, bytes);
    const unread = await here.openBlob(digest);
    await unread!.stream.return();
    assert.deepEqual(await unread!.stream.next(), { done: true, value: undefined });
    for await (const chunk of (await here.openBlob(digest))!.stream) {
      assert.ok(chunk.length > 0);
      break;
    }
    const read = await here.openBlob(digest);
    for await (const _ of read!.stream);
    await read!.stream.return();
  });

  it('removes the version that was seen, and no later one', async () => {
    for (const size of [100, 6 * MIB]) {
      const [here, there] = pair();
      const { bytes, digest } = sample(size);
      await upload(here, digest, bytes);
      const first = (await there.statBlob(digest))!.version;
      await upload(there, digest, bytes);
      const second = (await here.statBlob(digest))!.version;
      assert.notEqual(second, first);
      assert.equal(await here.removeBlob(digest, first), false);
      assert.ok((await readBlob(here, digest)).equals(bytes));
      await here.putBlob(digest, bytes);
      assert.equal(await here.removeBlob(digest, second), false);
      assert.ok((await readBlob(there, digest)).equals(bytes));
      assert.equal(await there.removeBlob(digest, (await there.statBlob(digest))!.version), true);
      assert.equal(await here.statBlob(digest), undefined);
      assert.equal(await here.openBlob(digest), undefined);
      await upload(here, digest, bytes);
      assert.ok((await readBlob(there, digest)).equals(bytes));
    }
  });

  it('is removed by one of many', async () => {
    const both = pair();
    const { bytes, digest } = sample(200);
    await both[0].putBlob(digest, bytes);
    const { version } = (await both[0].statBlob(digest))!;
    const results = await Promise.all(Array.from({ length: 8 }, (_, i) => both[i % 2]!.removeBlob(digest, version)));
    assert.equal(results.filter(Boolean).length, 1);
  });

  it('is read whole while it is published again and again', async () => {
    const [here, there] = pair();
    const { bytes, digest } = sample(17 * MIB);
    await upload(here, digest, bytes);
    const publishing = (async () => {
      for (let i = 0; i < 3; i++) await upload(there, digest, bytes);
    })();
    for (let i = 0; i < 4; i++) assert.ok((await readBlob(here, digest)).equals(bytes));
    await publishing;
    assert.ok((await readBlob(here, digest)).equals(bytes));
  });

  it('survives any mixture of publishing and removing', async () => {
    const both = pair();
    const { bytes, digest } = sample(70_000);
    await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const storage = both[i % 2]!;
        for (let round = 0; round < 6; round++) {
          if (i < 3) await upload(storage, digest, bytes);
          else {
            const stat = await storage.statBlob(digest);
            if (stat !== undefined) await storage.removeBlob(digest, stat.version);
          }
        }
      }),
    );
    await upload(both[0], digest, bytes);
    assert.ok((await readBlob(both[1], digest)).equals(bytes));
  });

  it('lists digests in order by pages, without what was removed', async () => {
    const [here, there] = pair();
    const samples = Array.from({ length: 40 }, () => sample(20));
    await inParallel(samples, 10, ({ digest, bytes }) => here.putBlob(digest, bytes));
    const gone = samples[7]!.digest;
    assert.ok(await there.removeBlob(gone, (await there.statBlob(gone))!.version));
    const listed: Digest[] = [];
    for (let after: string | undefined; ; ) {
      const page = await there.listBlobs({ limit: 7, ...(after !== undefined && { after }) });
      assert.ok(page.digests.length <= 7);
      listed.push(...page.digests);
      if (page.next === undefined) break;
      after = page.next;
    }
    assert.deepEqual(listed, [...new Set(listed)].sort());
    for (const { digest } of samples) assert.equal(listed.includes(digest), digest !== gone);
  });
}

function uploadContract(pair: Pair): void {
  it('starts empty and tells what it is', async () => {
    const [here, there] = pair();
    const created = await here.createUpload('library/debian');
    const stat = await there.statUpload(created.id);
    assert.deepEqual({ ...stat, modified: 0 }, { ...created, modified: 0 });
    assert.equal(stat?.size, 0);
    assert.equal(stat?.repository, 'library/debian');
    assert.equal((await collect(await here.readUpload(created.id))).length, 0);
  });

  it('goes on at any replica, in pieces of any size', async () => {
    const both = pair();
    const { bytes, digest } = sample(13 * MIB + 77);
    const { id } = await both[0].createUpload('a');
    let at = 0;
    for (const [i, size] of [1, 0, 10, 60_000, 70_000, 3 * MIB, 1, 6 * MIB, 5, 13 * MIB].entries()) {
      const piece = bytes.subarray(at, at + size);
      assert.equal(await both[i % 2]!.appendUpload(id, at, chunks(piece, 30_011)), at + piece.length);
      at += piece.length;
      assert.equal((await both[(i + 1) % 2]!.statUpload(id))?.size, at);
    }
    assert.ok((await collect(await both[1].readUpload(id))).equals(bytes));
    await both[1].publishUpload(id, digest, bytes.length);
    assert.ok((await readBlob(both[0], digest)).equals(bytes));
    for (const storage of both) {
      assert.equal(await storage.statUpload(id), undefined);
      await rejects(storage.appendUpload(id, 0, chunks(bytes, 100)), 'UPLOAD_UNKNOWN');
      await rejects(storage.readUpload(id), 'UPLOAD_UNKNOWN');
      await rejects(storage.publishUpload(id, digest, bytes.length), 'UPLOAD_UNKNOWN');
      await storage.discardUpload(id);
    }
    assert.ok((await readBlob(both[0], digest)).equals(bytes));
  });

  it('takes hundreds of small pieces', async () => {
    const both = pair();
    const { bytes, digest } = sample(150_000);
    const { id } = await both[0].createUpload('a');
    for (let at = 0; at < bytes.length; at += 1500) {
      await both[(at / 1500) % 2]!.appendUpload(id, at, chunks(bytes.subarray(at, at + 1500), 700));
    }
    await both[0].publishUpload(id, digest, bytes.length);
    assert.ok((await readBlob(both[1], digest)).equals(bytes));
  });

  it('refuses bytes at another offset than its end', async () => {
    const [here, there] = pair();
    const { id } = await here.createUpload('a');
    await here.appendUpload(id, 0, chunks(Buffer.from('12345'), 2));
    for (const offset of [0, 4, 6, 2 ** 40]) {
      const error = await rejects(there.appendUpload(id, offset, chunks(Buffer.from('x'), 1)), 'UPLOAD_OFFSET');
      assert.match(error.message, /5/);
    }
    assert.equal((await collect(await there.readUpload(id))).toString(), '12345');
  });

  it('lets one of two appends at once through', async () => {
    for (const swap of [false, true]) {
      const [here, there] = pair();
      const { bytes, digest } = sample(7 * MIB);
      const { id } = await here.createUpload('a');
      const results = await Promise.allSettled([
        here.appendUpload(id, 0, chunks(bytes, 65_536)),
        (swap ? here : there).appendUpload(id, 0, chunks(bytes, 65_536)),
      ]);
      assert.deepEqual(results.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
      for (const result of results) {
        if (result.status === 'rejected') {
          assert.ok(
            isImagoError(result.reason, 'UPLOAD_BUSY') || isImagoError(result.reason, 'UPLOAD_OFFSET'),
            result.reason,
          );
        }
      }
      await there.publishUpload(id, digest, bytes.length);
      assert.ok((await readBlob(here, digest)).equals(bytes));
    }
  });

  it('keeps what came before its source broke off, and goes on there', async () => {
    const [here, there] = pair();
    const { bytes, digest } = sample(14 * MIB);
    const { id } = await here.createUpload('a');
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunks(bytes.subarray(0, 11 * MIB), 65_536);
      throw new Error('connection reset');
    };
    await assert.rejects(here.appendUpload(id, 0, broken()), /connection reset/);
    const { size } = (await there.statUpload(id))!;
    assert.ok(size > 0 && size <= 11 * MIB, String(size));
    assert.ok((await collect(await there.readUpload(id))).equals(bytes.subarray(0, size)));
    await there.appendUpload(id, size, chunks(bytes.subarray(size), 65_536));
    await there.publishUpload(id, digest, bytes.length);
    assert.ok((await readBlob(here, digest)).equals(bytes));
  });

  it('is gone when it was discarded', async () => {
    const [here, there] = pair();
    const { id } = await here.createUpload('a');
    await here.appendUpload(id, 0, chunks(randomBytes(6 * MIB), 65_536));
    await there.discardUpload(id);
    assert.equal(await here.statUpload(id), undefined);
    await rejects(here.appendUpload(id, 0, chunks(Buffer.from('x'), 1)), 'UPLOAD_UNKNOWN');
    await here.discardUpload(id);
  });

  it('publishes nothing but what was hashed', async () => {
    const [here, there] = pair();
    const { bytes, digest } = sample(6 * MIB);
    const { id } = await here.createUpload('a');
    await here.appendUpload(id, 0, chunks(bytes, 65_536));
    await there.appendUpload(id, bytes.length, chunks(Buffer.from('more'), 4));
    await rejects(here.publishUpload(id, digest, bytes.length), 'UPLOAD_OFFSET');
    assert.equal(await there.statBlob(digest), undefined);
    assert.equal((await there.statUpload(id))?.size, bytes.length + 4);
    await here.discardUpload(id);
  });

  it('publishes for one of two at once, and the blob is whole', async () => {
    const both = pair();
    const { bytes, digest } = sample(6 * MIB);
    const { id } = await both[0].createUpload('a');
    await both[0].appendUpload(id, 0, chunks(bytes, 65_536));
    const results = await Promise.allSettled(both.map((storage) => storage.publishUpload(id, digest, bytes.length)));
    assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
    assert.ok((await readBlob(both[1], digest)).equals(bytes));
  });

  it('knows no upload by another kind of name', async () => {
    const [here] = pair();
    for (const id of [
      '',
      '.',
      '..',
      '../blobs',
      'x'.repeat(5000),
      `${'0'.repeat(31)}g`,
      'a/b',
      'ä',
      '\0',
      '0'.repeat(32),
    ]) {
      assert.equal(await here.statUpload(id), undefined);
      await rejects(here.appendUpload(id, 0, chunks(Buffer.from('x'), 1)), 'UPLOAD_UNKNOWN');
      await rejects(here.readUpload(id), 'UPLOAD_UNKNOWN');
      await rejects(here.publishUpload(id, sample(1).digest, 1), 'UPLOAD_UNKNOWN');
      await here.discardUpload(id);
    }
  });

  it('lists uploads by pages', async () => {
    const [here, there] = pair();
    const ids = await Promise.all(Array.from({ length: 23 }, async (_, i) => (await here.createUpload(`r${i}`)).id));
    const listed: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await there.listUploads({ limit: 10, ...(after !== undefined && { after }) });
      listed.push(...page.uploads.map((entry) => entry.id));
      if (page.next === undefined) break;
      after = page.next;
    }
    assert.deepEqual(listed, [...new Set(listed)].sort());
    for (const id of ids) assert.ok(listed.includes(id));
    for (const id of ids) await there.discardUpload(id);
  });

  it('sweeps nothing that is in use', async () => {
    const [here, there] = pair();
    const large = sample(6 * MIB);
    await upload(here, large.digest, large.bytes);
    const { id } = await here.createUpload('a');
    await here.appendUpload(id, 0, chunks(large.bytes, 65_536));
    await there.sweep({ maxAgeMs: 0 });
    assert.ok((await readBlob(here, large.digest)).equals(large.bytes));
    assert.ok((await collect(await here.readUpload(id))).equals(large.bytes));
    assert.deepEqual(await there.sweep({ maxAgeMs: 0 }), { bytes: 0, count: 0 });
  });
}

function sample(size: number): { bytes: Buffer; digest: Digest } {
  const bytes = randomBytes(size);
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

async function upload(storage: RegistryStorage, digest: Digest, bytes: Buffer): Promise<void> {
  const { id } = await storage.createUpload('some/repository');
  if (bytes.length > 0) await storage.appendUpload(id, 0, chunks(bytes, 65_536));
  await storage.publishUpload(id, digest, bytes.length);
}

async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readBlob(
  storage: RegistryStorage,
  digest: Digest,
  range?: { start: number; end: number },
): Promise<Buffer> {
  const open = await storage.openBlob(digest, range);
  assert.ok(open !== undefined, `${digest} is missing`);
  return collect(open.stream);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of stream) all.push(chunk);
  return Buffer.concat(all);
}

async function listAll(storage: RegistryStorage, prefix: string, limit: number): Promise<string[]> {
  const keys: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await storage.listDocuments(prefix, { limit, ...(after !== undefined && { after }) });
    assert.ok(page.keys.length <= limit);
    keys.push(...page.keys.map((entry) => entry.key));
    if (page.next === undefined) return keys;
    after = page.next;
  }
}

async function inParallel<T>(items: T[], width: number, work: (item: T) => Promise<unknown>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

async function rejects(promise: Promise<unknown>, code: string): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    assert.ok(isImagoError(error, code), `wanted ${code}, got ${String(error)}`);
    return error;
  }
  throw new assert.AssertionError({ message: `wanted ${code}, got no error` });
}
