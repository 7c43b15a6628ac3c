import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ImagoError } from '../../src/core/errors.ts';
import { prune } from '../../src/store/prune.ts';
import type { Store } from '../../src/store/store.ts';
import { tryLockIfThere } from '../../src/system/lock.ts';
import { pullImage } from '../../src/transfer/pull.ts';
import {
  describe as describeImage,
  json,
  Lab,
  noise,
  OCI,
  type SampleImage,
  sampleImage,
  sha256,
} from '../archive/lab.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import type { Fault } from '../registry/faults.ts';
import { Arena, assertForPeople } from './arena.ts';
import { readState } from './observe.ts';

const MB = 2 ** 20;
const ALWAYS = 10_000;
/** Of this process, the registry and what it serves among it. */
const MOST_MEMORY = 700 * MB;

let lab: Lab;
let registry: FakeRegistry;
let store: Store;
/** Its first layer is large enough to be kept account of, its second is not. */
let image: SampleImage;

before(() => {
  lab = new Lab();
  const large = lab.tar(lab.tree('large', { 'usr/data': noise(3 * MB) }));
  const small = lab.tar(lab.tree('small', { 'etc/motd': 'hello\n' }));
  image = sampleImage([large, small]);
});
after(() => {
  lab[Symbol.dispose]();
  const peak = process.resourceUsage().maxRSS * 1024;
  assert.ok(peak < MOST_MEMORY, `${(peak / MB).toFixed(0)} MB of memory`);
});
beforeEach(async () => {
  store = lab.store();
  registry = await FakeRegistry.start();
});
afterEach(() => registry[Symbol.asyncDispose]());

/** The pull must fail in words, soon, and leave nothing at all behind. */
async function refuses(code: string, says: RegExp): Promise<void> {
  const before = readState(store.root);
  const signal = AbortSignal.timeout(30_000);
  const error = await pullImage(store, `${registry.host}/app`, {
    signal,
    timing: { retryMs: 2, stallMs: 700 },
  }).then(
    () => assert.fail('it was taken'),
    (error: ImagoError) => error,
  );
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
  assertForPeople(error.message);
  // The network may be to blame: what is here by then is good, and garbage. What came of the other layer is kept for
  // the next pull, as much as there was by then.
  if (code === 'DOWNLOAD_BROKEN') {
    await prune(store);
    for (const path of listPartials()) {
      const lock = tryLockIfThere(path, 'exclusive');
      assert.ok(typeof lock === 'object', `${path} is ${lock as string}`);
      lock.release();
      rmSync(path, { recursive: true });
    }
  }
  assert.deepEqual(readState(store.root), before);
}

function listPartials(): string[] {
  const ingest = join(store.root, 'ingest');
  return readdirSync(ingest).flatMap((name) => (name.startsWith('partial-') ? [join(ingest, name)] : []));
}

const [LAYER, SMALL, CONFIG, MANIFEST] = [0, 1, 2, 3] as const;

function pathOf(part: number): RegExp {
  if (part === MANIFEST) return /\/manifests\//;
  return new RegExp(`/blobs/${sha256(part === CONFIG ? image.config : image.layers[part]!.blob)}`);
}

describe('a registry that sends, instead of', () => {
  const cases: [what: string, part: number, fault: Fault, code: string, says: RegExp][] = [
    [
      'a layer, another one',
      LAYER,
      { corrupt: true },
      'DIGEST_MISMATCH',
      /app:latest, layer sha256:[0-9a-f]{64}: the layer is not what its digest says/,
    ],
    ['a small layer, another one', SMALL, { corrupt: true }, 'DIGEST_MISMATCH', /app:latest, layer sha256:/],
    ['a layer, a part of it', LAYER, { short: 1000 }, 'DOWNLOAD_BROKEN', /broke again and again.*wanted \d+ bytes/],
    ['a small layer, a part of it', SMALL, { short: 10 }, 'DOWNLOAD_BROKEN', /broke again and again/],
    ['a layer, zeros without end', LAYER, { endless: true }, 'SIZE_MISMATCH', /is not as long as it should be/],
    ['a layer, 100 GB', LAYER, { huge: 1e11 }, 'SIZE_MISMATCH', /wanted \d+ bytes, got 100000000000/],
    ['a small layer, zeros without end', SMALL, { endless: true }, 'SIZE_MISMATCH', /is not as long as it should be/],
    ['a layer, nothing any more', LAYER, { stallAfter: 1000 }, 'DOWNLOAD_BROKEN', /no byte came or went/],
    ['a layer, a page', LAYER, { status: 200, body: '<html>log in</html>' }, 'DOWNLOAD_BROKEN', /broke again/],
    ['a layer, a packed one', LAYER, { headers: { 'content-encoding': 'gzip' } }, 'BAD_RESPONSE', /Content-Encoding/],
    ['the config, another one', CONFIG, { corrupt: true }, 'DIGEST_MISMATCH', /sent other bytes than the digest says/],
    ['the config, zeros without end', CONFIG, { endless: true }, 'SIZE_MISMATCH', /is not as long/],
    [
      'the manifest, another one',
      MANIFEST,
      { corrupt: true },
      'DIGEST_MISMATCH',
      /manifest .*app:latest is not what its digest says/,
    ],
    [
      'the manifest, 1 GB',
      MANIFEST,
      { huge: 2 ** 30 },
      'BAD_MANIFEST',
      /too large: wanted at most 4194304 bytes, got 1073741824/,
    ],
    ['the manifest, zeros without end', MANIFEST, { endless: true }, 'BAD_MANIFEST', /too large/],
    [
      'the manifest, a page',
      MANIFEST,
      { status: 200, body: '<html>log in</html>', headers: { 'content-type': 'text/html' } },
      'BAD_RESPONSE',
      /sent a web page instead of a manifest/,
    ],
    ['the manifest, an empty answer', MANIFEST, { status: 200, body: '' }, 'BAD_MANIFEST', /manifest/],
    [
      'an error of its list, a page',
      MANIFEST,
      { status: 500, body: '<html><title>Oops\x1b[31m</title></html>' },
      'REGISTRY_ERROR',
      /Oops/,
    ],
    [
      'an address, itself',
      MANIFEST,
      { status: 307, headers: { location: '/v2/app/manifests/latest' } },
      'BAD_REDIRECT',
      /redirect|not to be followed/,
    ],
    [
      'an address of a layer, itself',
      LAYER,
      { status: 302, headers: { location: '?again' } },
      'BAD_REDIRECT',
      /redirect|not to be followed/,
    ],
    [
      'an address, a file',
      LAYER,
      { status: 307, headers: { location: 'file:///etc/passwd' } },
      'BAD_REDIRECT',
      /file:/,
    ],
    [
      'an address, another protocol',
      MANIFEST,
      { status: 307, headers: { location: 'ftp://127.0.0.1/x' } },
      'BAD_REDIRECT',
      /ftp:/,
    ],
    ['an address, nothing', MANIFEST, { status: 307 }, 'BAD_REDIRECT', /not to be followed: a Location that is none/],
    [
      'a way to log in, another protocol',
      MANIFEST,
      { status: 401, headers: { 'www-authenticate': 'Bearer realm="ftp://127.0.0.1/token",service="x"' } },
      'BAD_TOKEN_REALM',
      /a token server that cannot be trusted/,
    ],
  ];
  for (const [what, part, fault, code, says] of cases) {
    test(what, async () => {
      registry.putImage('app', 'latest', image);
      registry.fault({ method: 'GET', path: pathOf(part) }, fault, ALWAYS);
      await refuses(code, says);
    });
  }
});

describe('an image that does not fit together', () => {
  /** `change` gets the documents before they are put. */
  function put(change: (documents: { manifest: Manifest; config: Config }) => void): void {
    registry.putImage('app', undefined, image);
    const manifest = JSON.parse(image.manifest.toString()) as Manifest;
    const config = JSON.parse(image.config.toString()) as Config;
    change({ manifest, config });
    const bytes = json(config);
    if (manifest.config.size === image.config.length) {
      Object.assign(manifest.config, { digest: registry.putBlob('app', bytes), size: bytes.length });
    }
    registry.putManifest('app', 'latest', manifest);
  }

  const cases: [what: string, code: string, says: RegExp, prepare: () => void][] = [
    [
      'the config names another tar',
      'DIFFID_MISMATCH',
      /the layer's tar is not the one that the image's config names/,
      () => put(({ config }) => (config.rootfs.diff_ids[0] = sha256(Buffer.from('x')))),
    ],
    [
      'the config names its tars the other way round',
      'DIFFID_MISMATCH',
      /app:latest, layer sha256:/,
      () => put(({ config }) => config.rootfs.diff_ids.reverse()),
    ],
    [
      'the config names fewer',
      'BAD_MANIFEST',
      /disagree on the number of layers: wanted 1, as in the config, got 2/,
      () => put(({ config }) => config.rootfs.diff_ids.pop()),
    ],
    [
      'a layer is shorter than the manifest says',
      'SIZE_MISMATCH',
      /wanted \d+ bytes, got \d+/,
      () => put(({ manifest }) => (manifest.layers[1]!.size += 5)),
    ],
    [
      'a layer is longer than the manifest says',
      'SIZE_MISMATCH',
      /is not as long as it should be/,
      () => put(({ manifest }) => (manifest.layers[0]!.size -= 5)),
    ],
    [
      'the config is larger than any',
      'BLOB_TOO_LARGE',
      /at most 4194304 bytes/,
      () => put(({ manifest }) => (manifest.config.size = 5e9)),
    ],
    ['a size is no number', 'BAD_MANIFEST', /size/, () => put(({ manifest }) => (manifest.layers[0]!.size = -1))],
    [
      'a digest leads elsewhere',
      'BAD_MANIFEST',
      /digest/,
      () => put(({ manifest }) => (manifest.layers[0]!.digest = '../../../etc/passwd' as 'sha256:')),
    ],
    [
      'an index lies about the size of a manifest',
      'SIZE_MISMATCH',
      /a manifest is not as long as its index says/,
      () => {
        registry.putImage('app', undefined, image);
        putIndex('latest', [{ ...describeImage(image), size: 7, platform: HOST }]);
      },
    ],
    ['an index in an index in an index …', 'INDEX_TOO_DEEP', /leads through too many indexes/, () => nest(12)],
    [
      'an index of indexes without end',
      'INDEX_TOO_DEEP',
      /and 32 documents/,
      () => {
        const inner = [...Array(1000).keys()].map((i) => putIndex(undefined, [], { i: String(i) }));
        putIndex('latest', inner);
      },
    ],
    [
      'an index that is itself inside of it',
      'DIGEST_MISMATCH',
      /is not what its digest says/,
      () => {
        const own = sha256(Buffer.from('itself'));
        const index = { schemaVersion: 2, mediaType: INDEX, manifests: [{ mediaType: INDEX, digest: own, size: 1 }] };
        const digest = registry.putManifest('app', 'latest', index);
        const { manifests } = registry.repository('app');
        manifests.set(own, manifests.get(digest)!);
      },
    ],
    [
      'an empty index',
      'PLATFORM_MISMATCH',
      /no matching manifest for linux\/\w+ in the manifest list entries: got none/,
      () => void putIndex('latest', []),
    ],
  ];
  for (const [what, code, says, prepare] of cases) {
    test(what, async () => {
      prepare();
      await refuses(code, says);
      assert.ok(registry.log.length < 60, `${registry.log.length} requests`);
    });
  }
});

interface Manifest {
  config: { digest: string; size: number };
  layers: { digest: string; size: number }[];
}
interface Config {
  rootfs: { diff_ids: string[] };
}

const INDEX = `${OCI}index.v1+json`;
const HOST = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };

function putIndex(tag: string | undefined, manifests: object[], annotations: object = {}): object {
  const bytes = json({ schemaVersion: 2, mediaType: INDEX, manifests, annotations });
  const digest = registry.putManifest('app', tag, bytes);
  return { mediaType: INDEX, digest, size: bytes.length };
}

function nest(depth: number): void {
  let inner: object = { ...describeImage(image), platform: HOST };
  registry.putImage('app', undefined, image);
  for (let i = 0; i < depth; i++) inner = putIndex(i === depth - 1 ? 'latest' : undefined, [inner]);
}

test('headers that are missing do no harm', async () => {
  registry.putImage('app', 'latest', image);
  registry.options = { digestHeaders: false, etags: false };
  const without = ['content-type', 'content-length'];
  registry.fault({ method: 'GET', path: /app/ }, { without }, ALWAYS);
  const { id } = await pullImage(store, `${registry.host}/app`, { timing: { retryMs: 2 } });
  assert.equal(id, sha256(image.config));
});

describe('a layer that inflates without end', () => {
  test('is given up early, with little memory, and leaves nothing', async () => {
    using arena = new Arena();
    arena.ok(['images']);
    // A thousandfold: 2 GB out of 2 MB.
    const zeros = gzipSync(Buffer.alloc(64 * MB), { level: 9 });
    const bomb = Buffer.concat(Array.from({ length: 32 }, () => zeros));
    const packed = sampleImage([image.layers[1]!.tar]);
    packed.layers[0]!.blob = bomb;
    const manifest = JSON.parse(packed.manifest.toString()) as Manifest;
    Object.assign(manifest.layers[0]!, { digest: sha256(bomb), size: bomb.length });
    registry.putBlob('app', bomb);
    registry.putBlob('app', packed.config);
    registry.putManifest('app', 'latest', manifest);
    const before = arena.state();
    const command = arena.start(['pull', `${registry.host}/app`]);
    let peak = 0;
    const watch = setInterval(() => {
      try {
        peak = Math.max(
          peak,
          Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${command.pid}/status`, 'latin1'))?.[1] ?? 0),
        );
      } catch {
        // It ended.
      }
    }, 20);
    const outcome = await command.end();
    clearInterval(watch);
    assert.equal(outcome.status, 1, outcome.stderr);
    assert.match(
      outcome.stderr,
      /^imago: .*layer sha256:.* inflates to far more .*: wanted at most 1\.07GB: .*IMAGO_LARGEST_LAYER/,
    );
    assertForPeople(outcome.stderr);
    arena.assertUntouched(before);
    assert.ok(peak > 0 && peak < 300e3, `${peak} kB of memory`);
    await arena.finish();
  });
});
