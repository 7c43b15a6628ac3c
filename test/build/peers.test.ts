import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { copyCases } from './copy-cases.ts';
import { BuildLab } from './lab.ts';

/** A command prefix under which newer tools are found than in PATH. */
const prefix: string[] = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');

function run(words: string[], cwd: string): { status: number | null; stderr: string } {
  const [program, ...args] = [...prefix, ...words] as [string, ...string[]];
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  return { status, stderr: stderr ?? '' };
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'mounting what buildah made needs root';
  return run(['buildah', '--version'], '/').status === 0
    ? false
    : 'buildah is not installed (IMAGO_TEST_PEERS: a prefix for it)';
}

/** Builds each case's Dockerfile, and takes the result's files as a tar. */
const SCRIPT = `
for f in *.dockerfile; do
  i=\${f%.dockerfile}
  buildah bud -q --layers=false -f "$f" -t "imago-case-$i" "$i" >/dev/null || exit 1
  c=$(buildah from "imago-case-$i") && m=$(buildah mount "$c") && tar -C "$m" --numeric-owner -cf "$i.tar" . || exit 1
  buildah rm "$c" >/dev/null; buildah rmi -f "imago-case-$i" >/dev/null
done
`;

describe('COPY and ADD as buildah does them', { skip: whyNot() }, () => {
  it('every case gives the same tree', { timeout: 300_000 }, async (t) => {
    using lab = new BuildLab();
    for (const [i, { files, lines }] of copyCases.entries()) {
      lab.write({ ...files }, join(lab.directory, 'cases', String(i)));
      writeFileSync(join(lab.directory, 'cases', `${i}.dockerfile`), `FROM scratch\n${lines}\n`);
    }
    const { status, stderr } = run(['sh', '-c', SCRIPT], join(lab.directory, 'cases'));
    assert.equal(status, 0, stderr);
    using lease = lab.store.lease('test');
    for (const [i, { name, want }] of copyCases.entries()) {
      const tar = createReadStream(join(lab.directory, 'cases', `${i}.tar`));
      const { diffId } = await ingestLayer(lab.store, lease, tar);
      await t.test(name, () => assert.deepEqual(lab.list({ diffIds: [diffId] }), want));
    }
  });
});
