/** Run by concurrency.test.ts: makes, checks and removes images for a while. argv is ROOT, RUN, a seed, layers. */
import type { Digest } from '../../src/core/digest.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { hasLayer } from '../../src/store/layers.ts';
import { removeUnreached } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';

const [root, run, seed, ...layers] = process.argv.slice(2) as [string, string, string, ...string[]];
const store = Store.open({ root, run });
let state = Number(seed);
const random = (below: number): number => {
  state = (state * 48271) % 2147483647;
  return state % below;
};

for (let round = 0; round < 60; round++) {
  const reference = `r/image:${random(4)}`;
  const chosen = layers.filter(() => random(2) === 1);
  {
    using lease = store.lease('busy');
    const diffIds: Digest[] = [];
    for (const path of chosen) diffIds.push((await ingestLayer(store, lease, { path })).diffId);
    const config = store.putBlob(lease, Buffer.from(JSON.stringify({ rootfs: { diff_ids: diffIds } })));
    const body = { schemaVersion: 2, config: { digest: config }, layers: diffIds.map((digest) => ({ digest })) };
    const digest = store.putBlob(lease, Buffer.from(JSON.stringify(body)));
    store.setRef(reference, { mediaType: 'm', digest, size: 1 });
    // All of it is held by the lease, whatever the others do.
    for (const id of diffIds) if (!hasLayer(store, id)) throw new Error(`${id} is gone`);
    for (const id of [config, digest]) if (!store.hasBlob(id)) throw new Error(`${id} is gone`);
  }
  const old = `r/image:${random(4)}`;
  const descriptor = store.getRef(old);
  if (descriptor !== undefined && random(2) === 1 && store.deleteRef(old)) {
    await removeUnreached(store, [descriptor.digest]);
  }
}
