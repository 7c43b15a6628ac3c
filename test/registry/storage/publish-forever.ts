import { createHash, randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { openStorage } from '../../../src/registry/storage/open.ts';

/** Publishes blobs into the directory that it is given, tells each that is published, and waits to be killed. */
const storage = await openStorage(process.argv[2]!);
const publish = async (): Promise<void> => {
  for (;;) {
    const bytes = randomBytes(200_000);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}` as const;
    const { id } = await storage.createUpload('some/repository');
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes;
    };
    await storage.appendUpload(id, 0, source());
    await storage.publishUpload(id, digest, bytes.length);
    writeSync(1, `${digest}\n`);
  }
};
await Promise.all([publish(), publish(), publish()]);
