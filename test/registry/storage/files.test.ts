import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStorage } from '../../../src/registry/storage/open.ts';
import { storageContract } from '../../contracts/registry-storage.ts';

storageContract('files', false, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'imago-registry-'));
  return {
    open: () => openStorage(directory),
    [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
  };
});
