import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { indexTar } from './entries.ts';
import { fsckMissing, runFsck } from './fsck.ts';
import { missing } from './lab.ts';
import { makeQuirks } from './quirks.ts';
import { makeTar } from './tars.ts';

const dir = mkdtempSync(join(tmpdir(), 'imago-fsck-'));
after(() => rmSync(dir, { recursive: true }));

describe('fsck.erofs accepts', { skip: fsckMissing(dir) }, () => {
  it('a layer with whiteouts', () => {
    const tar = makeTar(['a=1', 'd/', 'd/.wh.x', 'e/.wh..wh..opq', 'l -> a', 'h => a']);
    writeFileSync(join(dir, 'layer.tar'), tar);
    assert.equal(runFsck(dir, indexTar(tar).image, 'layer.tar'), '');
  });

  const needs = process.getuid?.() === 0 ? missing('tar', 'setfacl', 'setcap') : 'needs root: devices';
  it('a layer with one of everything', { skip: needs }, () => {
    makeQuirks(join(dir, 'quirks'));
    const options = ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse'];
    execFileSync('tar', [...options, '-cf', join(dir, 'quirks.tar'), '-C', join(dir, 'quirks'), '.'], {
      stdio: 'pipe',
    });
    const { image } = indexTar(readFileSync(join(dir, 'quirks.tar')));
    assert.equal(runFsck(dir, image, 'quirks.tar'), '');
  });

  it('nothing that is damaged', () => {
    const tar = makeTar(['a=1', 'd/', 'd/x=2']);
    writeFileSync(join(dir, 'damaged.tar'), tar);
    const { image } = indexTar(tar);
    // The root's mode.
    image[48 * 32 + 5] = 0xff;
    assert.notEqual(runFsck(dir, image, 'damaged.tar'), '');
  });
});
