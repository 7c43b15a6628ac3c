import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { dropPin } from '../../src/snapshot/pin.ts';
import { Store } from '../../src/store/store.ts';
import { compareBuilds, givenPeer, importBases, readCase, whyNoPeer } from './peer.ts';

const directory: string | undefined = process.env.IMAGO_TEST_DOCKERFILES;
/** Names, when not all are wanted. */
const wanted: string[] = (process.env.IMAGO_TEST_DOCKERFILES_ONLY ?? '').split(' ').filter((name) => name !== '');
const skip: string | false = whyNoPeer(directory);

describe('Dockerfiles of public projects build as docker builds them', { skip }, () => {
  if (skip !== false) return;
  // Beside the cases, which docker sees, too.
  const scratch = mkdtempSync(join(directory!, '.imago-'));
  const peer = givenPeer();
  const store = Store.open({ root: join(scratch, 'root'), run: join(scratch, 'run') });
  before(() => importBases(store, peer, directory!), { timeout: 600_000 });
  after(() => {
    if (existsSync(join(store.run, 'mnt'))) dropPin(store.run);
    rmSync(scratch, { recursive: true, force: true });
  });
  for (const name of readdirSync(directory!).sort()) {
    if (!existsSync(join(directory!, name, 'case.json')) || (wanted.length > 0 && !wanted.includes(name))) continue;
    it(name, { timeout: 300_000 }, async () => {
      assert.deepEqual(await compareBuilds(store, peer, readCase(directory!, name), join(scratch, 'work')), []);
    });
  }
});
