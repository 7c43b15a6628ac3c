/** Run by crash.test.ts, which kills it: argv is ROOT, RUN, a layer, what to do. Says when it begins. */
import { readFileSync } from 'node:fs';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { prune } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';

const [root, run, path, what] = process.argv.slice(2) as [string, string, string, string];
const store = Store.open({ root, run });
process.stdout.write('begin\n');
for (;;) {
  using lease = store.lease(what);
  const { diffId } = await ingestLayer(store, lease, { path });
  const config = store.putBlob(lease, Buffer.from(JSON.stringify({ rootfs: { diff_ids: [diffId] } })));
  const body = { schemaVersion: 2, config: { digest: config }, layers: [{ digest: diffId }] };
  const digest = store.putBlob(lease, Buffer.from(JSON.stringify(body)));
  store.setRef(`r/killed:${process.pid}`, {
    mediaType: 'm',
    digest,
    size: readFileSync(store.blobPath(digest)).length,
  });
  if (what === 'ingest') continue;
  // Everything away again, to be killed while it goes.
  for (const { reference } of store.listRefs()) store.deleteRef(reference);
  lease.close();
  await prune(store);
}
