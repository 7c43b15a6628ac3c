import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { buildImage } from '../../src/engine/build.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { BuildLab } from './lab.ts';

/** A command prefix under which newer tools are found than in PATH. */
const prefix: string[] = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');

function skopeo(cwd: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const [program, ...args] = [...prefix, 'skopeo', ...words] as [string, ...string[]];
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: 60_000 });
  return { status, stdout: stdout ?? '', stderr: stderr ?? '' };
}

const skip =
  skopeo('/', '--version').status === 0 ? false : 'skopeo is not installed (IMAGO_TEST_PEERS: a prefix for it)';

describe('what skopeo makes of outputs', { skip }, () => {
  const FILE = { name: 'Dockerfile', text: 'FROM scratch\nCOPY a /a\nLABEL made=here\n' };

  for (const [output, transport] of [
    ['type=oci', 'oci-archive'],
    ['type=oci,compression=zstd', 'oci-archive'],
    ['type=docker', 'docker-archive'],
  ] as const) {
    it(`${output}: the image, attestations or not`, async () => {
      using lab = new BuildLab();
      lab.write({ a: 'a' });
      for (const attest of output === 'type=docker' ? [{}] : [{}, { provenance: {}, sbom: true }]) {
        const dest = join(lab.directory, `out-${readdirSync(lab.directory).length}.tar`);
        const outputs = [parseOutput(`${output},dest=${dest}`)];
        await buildImage(lab.store, { context: lab.context, file: FILE, tags: ['made:1'], outputs, attest });
        const copy = join(lab.directory, `copy-${readdirSync(lab.directory).length}`);
        const { status, stderr } = skopeo(
          lab.directory,
          'copy',
          '--insecure-policy',
          `${transport}:${dest}`,
          `dir:${copy}`,
        );
        assert.equal(status, 0, stderr);
        const manifest = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8')) as {
          config: { digest: string };
        };
        const config = JSON.parse(readFileSync(join(copy, manifest.config.digest.slice(7)), 'utf8')) as {
          config: { Labels: object };
        };
        assert.deepEqual(config.config.Labels, { made: 'here' });
      }
    });
  }
});
