import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Engine } from '../../src/engine/engine.ts';
import { END_OF_ARCHIVE, encodeHeader } from '../../src/formats/tar/write.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { openSnapshotter } from '../../src/snapshot/snapshotter.ts';

const skip = process.geteuid?.() === 0 ? false : 'unpacking a layer needs root';

async function* oneFile(): AsyncGenerator<Uint8Array> {
  yield encodeHeader({ path: 'hello', type: 'file', size: 3, mode: 0o644 });
  yield Buffer.from('hi\n'.padEnd(512, '\0'));
  yield END_OF_ARCHIVE;
}

test('verify finds damage in an unpacked layer, and the next use unpacks it anew', { skip }, async () => {
  const dir = mkdtempSync('/var/tmp/imago-verify-');
  try {
    const engine = new Engine({ root: join(dir, 'root'), run: join(dir, 'run') });
    await engine.import(oneFile(), { reference: 'hello' });
    const { diffIds } = resolveImage(engine.store, 'hello');
    const snapshotter = openSnapshotter(engine.store, { backend: 'unpacked' });
    await snapshotter.prepare(diffIds);
    const tree = join(engine.store.layerDirectory(diffIds[0]!), 'fs');
    assert.deepEqual((await engine.verify()).regenerated, []);

    writeFileSync(join(tree, 'hello'), 'ho\n');
    const { regenerated, damaged } = await engine.verify();
    assert.deepEqual(regenerated, [{ kind: 'unpacked layer', digest: diffIds[0] }]);
    assert.deepEqual(damaged, []);
    assert.ok(!existsSync(tree));

    await snapshotter.prepare(diffIds);
    assert.equal(readFileSync(join(tree, 'hello'), 'utf8'), 'hi\n');
    assert.deepEqual((await engine.verify()).regenerated, []);
    assert.equal(readdirSync(join(dir, 'root/quarantine')).length, 1);
    await engine.prune();
    assert.equal(readdirSync(join(dir, 'root/quarantine')).length, 0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
