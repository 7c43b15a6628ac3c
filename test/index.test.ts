import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as imago from '../src/index.ts';

test('the library exports these names', () => {
  assert.deepEqual(Object.keys(imago).sort(), [
    'BuildError',
    'DockerfileError',
    'END_OF_ARCHIVE',
    'Engine',
    'ImagoError',
    'IndexBuilder',
    'Store',
    'TarScanner',
    'byteString',
    'bytesOf',
    'displayName',
    'dumpIndex',
    'encodeHeader',
    'familiarReference',
    'formatReference',
    'image',
    'isDigest',
    'isImagoError',
    'latin1',
    'parseAnnotation',
    'parseDigest',
    'parseOutput',
    'parseReference',
    'readTar',
  ]);
});

test('an engine imports, describes, tags and removes an image', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'imago-engine-'));
  try {
    const engine = new imago.Engine({ root: join(dir, 'root'), run: join(dir, 'run') });
    async function* tar(): AsyncGenerator<Uint8Array> {
      yield imago.encodeHeader({ path: 'hello', type: 'file', size: 3, mode: 0o644 });
      yield Buffer.from('hi\n'.padEnd(512, '\0'));
      yield imago.END_OF_ARCHIVE;
    }
    const { id, reference } = await engine.import(tar(), { reference: 'hello:1', changes: ['CMD ["/hello"]'] });
    assert.equal(reference, 'docker.io/library/hello:1');
    assert.equal((await engine.inspect('hello:1')).Id, id);
    assert.equal((await engine.history(id)).length, 1);
    await engine.tag('hello:1', 'hello:2');
    assert.deepEqual((await engine.images()).map((row) => row.tag).sort(), ['1', '2']);
    assert.deepEqual((await engine.verify()).damaged, []);
    await engine.removeImage('hello:1');
    await engine.removeImage('hello:2');
    assert.deepEqual(await engine.images(), []);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
