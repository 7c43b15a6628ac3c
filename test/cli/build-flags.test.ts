import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

const MAIN: string = join(import.meta.dirname, '../../src/cli/main.ts');

describe('flags of build as docker takes them', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'imago-flags-'));
    writeFileSync(join(directory, 'Dockerfile'), 'FROM scratch\n');
  });
  after(() => rmSync(directory, { recursive: true }));

  const build = (...words: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [MAIN, '--root', join(directory, 'root'), 'build', ...words], {
      cwd: directory,
      encoding: 'utf8',
    });

  it('those of the classic builder that mean nothing any more', () => {
    const quiet = build('-q', '--rm', '--force-rm=false', '--compress', '--rm=true', '.');
    assert.deepEqual([quiet.status, quiet.stderr], [0, '']);
    const warned = build('-q', '--squash', '--isolation=default', '--security-opt', 'seccomp=unconfined', '.');
    assert.equal(warned.status, 0);
    assert.deepEqual(
      warned.stderr.split('\n').map((line) => line.replace(/ has no effect.*/, '')),
      ['WARNING: --isolation', 'WARNING: --security-opt', 'WARNING: --squash', ''],
    );
    assert.doesNotMatch(build('--help').stdout, /--(?:rm|squash|compress)/);
  });

  for (const option of ['label', 'build-arg']) {
    it(`--${option} without a key is refused`, () => {
      for (const value of ['', '=x']) {
        const { status, stderr } = build(`--${option}=${value}`, '.');
        assert.deepEqual([status, stderr.includes(`invalid value of --${option}: the key is empty`)], [125, true]);
      }
    });
  }

  it('--iidfile: a failed build leaves no ID of an earlier one', () => {
    const path = join(directory, 'iid');
    assert.equal(build('-q', '--iidfile', path, '.').status, 0);
    assert.match(readFileSync(path, 'utf8'), /^sha256:[0-9a-f]{64}$/);
    assert.equal(build('--iidfile', path, '--target', 'none', '.').status, 1);
    assert.equal(existsSync(path), false);
    assert.equal(build('-q', '--iidfile', '/dev/null', '.').status, 0);
    assert.ok(existsSync('/dev/null'));
  });

  it('those that a script leaves empty', () => {
    assert.equal(
      build('-q', '--provenance=', '--sbom=', '--target=', '--platform=', '--network=default', '.').status,
      0,
    );
    const { status, stderr } = build('-o', '', '.');
    assert.deepEqual([status, /the value of --output is empty/.test(stderr)], [125, true]);
  });
});
