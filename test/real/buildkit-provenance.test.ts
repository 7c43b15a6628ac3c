/** BuildKit's cases of provenance that are about what it is made of, and where it goes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { defaultPlatform, readManifest } from '../../src/image/image.ts';
import type { ImageIndex, ImageManifest } from '../../src/oci/manifest.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import { BuildLab, type BuildRun, whyNoRun } from '../build/lab.ts';

const attest: BuildOptions['attest'] = { provenance: { mode: 'max' } };

/** One for each platform of an index. */
// biome-ignore lint/suspicious/noExplicitAny: what others read of it is compared below
function predicates(lab: BuildLab, { descriptor }: BuildRun): any[] {
  const { manifests } = readManifest(lab.store, descriptor).value as ImageIndex;
  return manifests
    .filter(({ annotations }) => annotations?.['vnd.docker.reference.type'] === 'attestation-manifest')
    .map((child) => {
      const [layer] = (readManifest(lab.store, child).value as ImageManifest).layers;
      return JSON.parse(lab.store.readBlob(layer!.digest).toString()).predicate;
    });
}

describe("BuildKit's cases of provenance", () => {
  it('testOCILayoutProvenance: an image of a layout is a material, by its digest', async () => {
    using lab = new BuildLab();
    const layout = join(lab.directory, 'ocione');
    const base = await lab.build('FROM scratch\nCOPY <<E /foo\nfoo\nE', {
      outputs: [parseOutput(`type=oci,tar=false,dest=${layout}`), parseOutput('type=image')],
    });
    const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as ImageIndex;
    const { digest } = manifests[0]!;
    const run = await lab.build('FROM foo\nCOPY <<E /bar\nbar\nE', {
      attest,
      contexts: { foo: `oci-layout://${layout}@${digest}` },
    });
    assert.deepEqual([lab.read(run.image, 'foo'), lab.read(run.image, 'bar')], ['foo\n', 'bar\n']);
    assert.equal(run.image.diffIds[0], base.image.diffIds[0]);
    const [{ buildDefinition }] = predicates(lab, run);
    assert.equal(buildDefinition.resolvedDependencies.length, 1);
    const [material] = buildDefinition.resolvedDependencies;
    assert.match(material.uri, /^pkg:oci\/ocione@sha256(?::|%3A)[0-9a-f]{64}/);
    assert.deepEqual(material.digest, { sha256: digest.slice(7) });
  });

  it('testDuplicatePlatformProvenance: a platform that is asked for twice counts once', async () => {
    using lab = new BuildLab();
    const own = formatPlatform(defaultPlatform());
    const dockerfile = 'FROM scratch AS base-linux\nCOPY <<E /f\nE\nFROM gone AS base-windows\nFROM base-$TARGETOS';
    const run = await lab.build(dockerfile, { attest, platform: [own, own] });
    assert.equal(run.platforms.length, 1);
    assert.equal(predicates(lab, run).length, 1);
    assert.deepEqual(lab.paths(run.image), ['f']);
  });

  it('testDockerIgnoreMissingProvenance: a context that is not there is needed by nobody', async () => {
    using lab = new BuildLab();
    const gone = join(lab.directory, 'context');
    lab.write({ Dockerfile: 'FROM scratch\nLABEL a=b\n' });
    const onDockerfile = (): void => {
      execFileSync('rm', ['-r', gone]);
    };
    const run = await lab.build('', { file: undefined, attest, onDockerfile });
    assert.deepEqual(run.image.config.config!.Labels, { a: 'b' });
    const [{ runDetails }] = predicates(lab, run);
    assert.equal(runDetails.metadata.buildkit_metadata.source.infos[0].filename, 'Dockerfile');
  });

  it('testProvenanceExportLocalForceSplit', async () => {
    using lab = new BuildLab();
    const dest = join(lab.directory, 'out');
    const dockerfile = 'FROM scratch AS base\nCOPY <<E /out/foo\nok\nE\nFROM scratch\nCOPY --from=base /out /\n';
    await lab.build(dockerfile, {
      attest,
      outputs: [parseOutput(`type=local,platform-split=true,dest=${dest}`), parseOutput('type=image')],
    });
    const directory = join(dest, formatPlatform(defaultPlatform()).replaceAll('/', '_'));
    assert.equal(readFileSync(join(directory, 'foo'), 'utf8'), 'ok\n');
    const statement = JSON.parse(readFileSync(join(directory, 'provenance.json'), 'utf8'));
    assert.equal(statement.predicateType, 'https://slsa.dev/provenance/v1');
    assert.deepEqual(
      statement.subject.map(({ name }: { name: string }) => name),
      ['foo'],
    );
  });
});

describe("BuildKit's cases of provenance with RUN", { skip: whyNoRun() }, () => {
  it('testDuplicateLayersProvenance: stages on one base tell it once', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile =
      'FROM base AS base\nFROM base AS a\nRUN cat /proc/uptime >/a.txt\n' +
      'FROM base AS b\nCOPY --from=a /a.txt /\nRUN cat /proc/uptime >/b.txt\n';
    const run = await lab.build(dockerfile, { attest });
    const [{ buildDefinition }] = predicates(lab, run);
    assert.equal(buildDefinition.resolvedDependencies.length, 1);
    assert.match(buildDefinition.resolvedDependencies[0].uri, /^pkg:docker\/base@latest\?platform=/);
    assert.equal(run.image.diffIds.length, 3);
  });
});
