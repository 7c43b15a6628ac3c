import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildIndex, entry } from './entries.ts';

/** fsck.erofs of this machine, or by a prefix such as a container's (IMAGO_TEST_PEERS). */
const COMMAND: string[] = [...(process.env.IMAGO_TEST_PEERS?.split(' ') ?? []), 'fsck.erofs'];

/** What fsck.erofs says against an image; '' where it accepts it. `--extract` reads all data too. */
export function runFsck(dir: string, image: Uint8Array, tarName: string): string {
  // fsck.erofs up to 1.9 takes the checksum over "block size − 1024" bytes and so crashes on smaller blocks.
  const copy = image.slice();
  copy[1024 + 8]! &= ~1;
  writeFileSync(join(dir, 'fsck.erofs'), copy);
  const args = [...COMMAND.slice(1), '--extract', `--device=${tarName}`, 'fsck.erofs'];
  const { status, stdout, stderr, error } = spawnSync(COMMAND[0]!, args, { cwd: dir, encoding: 'utf8' });
  if (error !== undefined) return error.message;
  return status === 0 ? '' : `exit ${status}: ${stdout}${stderr}`;
}

/** Why fsck.erofs cannot judge our images here; false where it can. */
export function fsckMissing(dir: string): string | false {
  writeFileSync(join(dir, 'probe.tar'), new Uint8Array(1024));
  const found = runFsck(dir, buildIndex([entry('f')], {}, 1024).image, 'probe.tar');
  return found === '' ? false : `needs fsck.erofs ≥ 1.8 (${found.trim().split('\n').at(-1)})`;
}
