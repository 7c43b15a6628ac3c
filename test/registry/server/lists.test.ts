import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import { parseLink } from '../../../src/registry/wire/link.ts';
import { assertError, descriptorOf, digestOf, imageOf, indexOf, RegistryLab } from './lab.ts';

const NAMES = ['1', '10', '2', 'A', 'Z', '_x', 'a', 'latest', 'v1.0', 'v1.0-rc'];

async function json(lab: RegistryLab, target: string): Promise<Record<string, unknown>> {
  const answer = await lab.get(target);
  assert.equal(answer.status, 200, answer.body.toString());
  return JSON.parse(answer.body.toString());
}

/** All pages from `target` on, by their Link headers. */
async function pages(lab: RegistryLab, target: string): Promise<Record<string, unknown>[]> {
  const out: Record<string, unknown>[] = [];
  for (let next: string | undefined = target; next !== undefined; ) {
    const answer = await lab.get(next);
    assert.equal(answer.status, 200, answer.body.toString());
    out.push(JSON.parse(answer.body.toString()));
    const link: string | string[] | undefined = answer.headers.link;
    next = typeof link === 'string' ? parseLink(link).find(({ rel }) => rel === 'next')!.url : undefined;
  }
  return out;
}

describe('tags of a repository', async () => {
  const lab = await RegistryLab.start();
  for (const tag of [...NAMES].reverse()) await lab.pushManifest('some/repo', indexOf([]), tag, MEDIA_TYPES.index);

  it('come in the order of their bytes', async () => {
    assert.deepEqual(await json(lab, '/v2/some/repo/tags/list'), { name: 'some/repo', tags: NAMES });
  });

  it('come in pages', async () => {
    for (const n of [1, 3, 9, 10, 11, 1_000_000]) {
      const found = (await pages(lab, `/v2/some/repo/tags/list?n=${n}`)).map((page) => page.tags as string[]);
      assert.deepEqual(found.flat(), NAMES);
      assert.equal(found.length, Math.ceil(NAMES.length / n));
    }
  });

  it('go on after one that need not be there', async () => {
    assert.deepEqual((await json(lab, '/v2/some/repo/tags/list?last=Z')).tags, NAMES.slice(5));
    assert.deepEqual((await json(lab, '/v2/some/repo/tags/list?last=b&n=1')).tags, ['latest']);
    assert.deepEqual((await json(lab, '/v2/some/repo/tags/list?last=zzz')).tags, []);
  });

  it('none of them, without a Link', async () => {
    const answer = await lab.get('/v2/some/repo/tags/list?n=0');
    assert.deepEqual(JSON.parse(answer.body.toString()).tags, []);
    assert.equal(answer.headers.link, undefined);
  });

  it('refuses pages that are none', async () => {
    for (const query of ['n=-1', 'n=x', 'n=1e3', 'last=../x', `last=${'x'.repeat(200)}`]) {
      assertError(await lab.get(`/v2/some/repo/tags/list?${query}`), 400, 'PAGINATION_NUMBER_INVALID');
    }
  });

  it('of an unknown repository', async () => {
    assertError(await lab.get('/v2/some/tags/list'), 404, 'NAME_UNKNOWN');
    assertError(await lab.get('/v2/unknown/tags/list?n=0'), 404, 'NAME_UNKNOWN');
  });

  it('are bounded where nothing was asked for', async () => {
    await using small = await RegistryLab.start({ storage: lab.storage, limits: { pageEntries: 4 } });
    const found = (await pages(small, '/v2/some/repo/tags/list')).map((page) => page.tags as string[]);
    assert.deepEqual(found.flat(), NAMES);
    assert.equal(found.length, 3);
    await lab[Symbol.asyncDispose]();
  });
});

describe('the catalog', () => {
  it('has the repositories that something was pushed to, in pages', async () => {
    await using lab = await RegistryLab.start();
    const names = ['a-b', 'a', 'a/b', 'a/b/c', 'b', 'manifests/tags/list', 'v2/_'.slice(0, 2)];
    for (const name of names) await lab.pushBlob(name, 'x');
    const found = (await pages(lab, '/v2/_catalog?n=2')).map((page) => page.repositories as string[]);
    assert.deepEqual(found.flat().sort(), [...names].sort());
    assert.equal(found.length, 4);
    assert.deepEqual((await json(lab, '/v2/_catalog')).repositories, found.flat());
    assert.deepEqual((await json(lab, `/v2/_catalog?last=${encodeURIComponent('a/b')}`)).repositories, [
      ...found.flat().slice(found.flat().indexOf('a/b') + 1),
    ]);
    for (const query of ['n=x', 'last=../x', 'last=UPPER']) {
      assertError(await lab.get(`/v2/_catalog?${query}`), 400, 'PAGINATION_NUMBER_INVALID');
    }
  });
});

describe('referrers', () => {
  const config = descriptorOf(MEDIA_TYPES.empty, '{}');
  const subject = descriptorOf(MEDIA_TYPES.manifest, 'a subject that is not here');

  it('are listed with type and annotations, filtered, in pages, and go with their manifest', async () => {
    await using lab = await RegistryLab.start({ limits: { pageEntries: 2 } });
    await lab.pushBlob('r', '{}');
    const referrers = `/v2/r/referrers/${subject.digest}`;
    const empty = await lab.get(referrers);
    assert.equal(empty.headers['content-type'], MEDIA_TYPES.index);
    assert.deepEqual(JSON.parse(empty.body.toString()), {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [],
    });
    const digests: string[] = [];
    for (let i = 0; i < 5; i++) {
      const more = { artifactType: i % 2 ? 'a/odd' : 'a/even', annotations: { i: String(i) }, subject };
      const text = JSON.stringify(imageOf(config, [], more));
      const answer = await lab.send('PUT', `/v2/r/manifests/t${i}`, { 'Content-Type': MEDIA_TYPES.manifest }, text);
      assert.equal(answer.headers['oci-subject'], subject.digest);
      digests.push(digestOf(text));
    }
    const untyped = await lab.pushManifest('r', imageOf(config, [], { subject }));
    const index = await lab.pushManifest('r', indexOf([], { subject }), 'index', MEDIA_TYPES.index);
    const all = (await pages(lab, referrers)).flatMap((page) => page.manifests as Record<string, unknown>[]);
    assert.deepEqual(all.map(({ digest }) => digest).sort(), [...digests, untyped, index].sort());
    assert.equal((await pages(lab, referrers)).length, 4);
    const byDigest = new Map(all.map((entry) => [entry.digest, entry]));
    assert.deepEqual(byDigest.get(digests[1]), {
      mediaType: MEDIA_TYPES.manifest,
      digest: digests[1],
      size: Number((await lab.send('HEAD', '/v2/r/manifests/t1')).headers['content-length']),
      artifactType: 'a/odd',
      annotations: { i: '1' },
    });
    assert.equal(byDigest.get(untyped)!.artifactType, MEDIA_TYPES.empty);
    assert.ok(!('artifactType' in byDigest.get(index)!));
    const filtered = await lab.get(`${referrers}?artifactType=${encodeURIComponent('a/even')}&n=10`);
    assert.equal(filtered.headers['oci-filters-applied'], 'artifactType');
    const even = (await pages(lab, `${referrers}?artifactType=a/even`)).flatMap(
      (page) => page.manifests as { digest: string }[],
    );
    assert.deepEqual(even.map(({ digest }) => digest).sort(), [digests[0], digests[2], digests[4]].sort());
    assert.equal((await lab.send('DELETE', `/v2/r/manifests/${digests[0]}`)).status, 202);
    const left = (await pages(lab, referrers)).flatMap((page) => page.manifests as { digest: string }[]);
    assert.equal(left.length, 6);
    assert.ok(left.every(({ digest }) => digest !== digests[0]));
  });

  it('never fill a page with more than clients take', async () => {
    await using lab = await RegistryLab.start();
    await lab.pushBlob('r', '{}');
    for (let i = 0; i < 4; i++) {
      const annotations = { i: String(i), large: 'x'.repeat(1_500_000) };
      await lab.pushManifest('r', imageOf(config, [], { subject, annotations }));
    }
    const found = await pages(lab, `/v2/r/referrers/${subject.digest}`);
    assert.ok(found.every((page) => JSON.stringify(page).length <= 4 * 2 ** 20));
    assert.equal(new Set(found.flatMap((page) => page.manifests as { digest: string }[]).map((m) => m.digest)).size, 4);
  });

  it('refuse what is no digest, and know no unknown repository', async () => {
    await using lab = await RegistryLab.start();
    assertError(await lab.get('/v2/r/referrers/sha256:x'), 400, 'DIGEST_INVALID');
    assertError(await lab.get('/v2/r/referrers/latest'), 400, 'DIGEST_INVALID');
    assert.equal((await lab.get(`/v2/nowhere/referrers/${subject.digest}`)).status, 200);
  });
});
