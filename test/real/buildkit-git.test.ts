/** BuildKit's cases of repositories, for both kinds of object names. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readManifest } from '../../src/image/image.ts';
import type { ImageIndex, ImageManifest } from '../../src/oci/manifest.ts';
import { BuildLab } from '../build/lab.ts';
import { FileServer, makeRepository, noGit, whyNoSha256 } from '../build/served.ts';

const FORMATS = [
  ['sha1', 'SHA1', noGit],
  ['sha256', 'SHA256', whyNoSha256()],
] as const;

for (const [format, suffix, skip] of FORMATS) {
  describe(`a repository of ${format}`, { skip }, () => {
    it(`testAddGit${suffix}`, async () => {
      using lab = new BuildLab();
      await using server = await FileServer.start(lab.directory);
      const repository = join(lab.directory, 'repo.git');
      const commit = (tag: string): string =>
        makeRepository(lab, repository, { foo: `foo of ${tag}` }, { format, tag });
      const [first, second, third] = [commit('v0.0.1'), commit('v0.0.2'), commit('v0.0.3')] as const;
      assert.equal(first.length, format === 'sha1' ? 40 : 64);
      const url = `${server.url}/repo.git/.git`;
      const add = async (flags: string, ref: string): Promise<string[]> => {
        const { image } = await lab.build(`FROM scratch\nADD ${flags} ${url}#${ref} /x`);
        const owner = lab
          .list(image)
          .find((line) => line.includes(' x/foo '))!
          .split(' ')[2]!;
        return [lab.read(image, 'x/foo')!, owner, lab.read(image, 'x/.git/HEAD')?.trim() ?? 'no .git'];
      };
      assert.deepEqual(await add('', 'v0.0.1'), ['foo of v0.0.1', '0:0', 'no .git']);
      const kept = `--keep-git-dir=true --chown=4242:8484 --checksum=${second}`;
      assert.deepEqual(await add(kept, 'v0.0.2'), ['foo of v0.0.2', '4242:8484', second]);
      assert.deepEqual(await add(`--checksum=${third}`, 'v0.0.3'), ['foo of v0.0.3', '0:0', 'no .git']);
      assert.deepEqual(await add(`--keep-git-dir --checksum=${third}`, third), ['foo of v0.0.3', '0:0', third]);
      assert.deepEqual(await add(`--checksum=${first.slice(0, 12)}`, 'v0.0.1'), ['foo of v0.0.1', '0:0', 'no .git']);
      await assert.rejects(add(`--checksum=${second}`, 'v0.0.3'), { code: 'GIT_CHECKSUM' });
      const moved = await lab.build(`FROM scratch\nADD ${url}?fetch-by-commit=1&checksum=${second}#main /x`);
      assert.equal(lab.read(moved.image, 'x/foo'), 'foo of v0.0.2');
      await assert.rejects(add('--checksum=foobar', 'v0.0.3'), {
        message: /invalid checksum foobar, expected hex commit hash/,
      });
    });

    it(`testDockerfileFromGit${suffix}`, async () => {
      using lab = new BuildLab();
      await using server = await FileServer.start(lab.directory);
      const repository = join(lab.directory, 'repo.git');
      const file = (name: string): string => `FROM scratch\nCOPY Dockerfile /${name}\n`;
      makeRepository(lab, repository, { Dockerfile: file('bar') }, { format, tag: 'first' });
      makeRepository(lab, repository, { Dockerfile: file('bar2') }, { format });
      for (const [ref, name] of [
        ['#first', 'bar'],
        ['', 'bar2'],
        ['#main', 'bar2'],
      ] as const) {
        const context = `${server.url}/repo.git/.git${ref}`;
        const { image } = await lab.build('', { file: undefined, context });
        assert.deepEqual(lab.paths(image), [name]);
      }
    });

    for (const version of ['v1', 'v0.2'] as const) {
      it(`testGitProvenanceAttestation${suffix}, SLSA ${version}`, async () => {
        using lab = new BuildLab();
        await using server = await FileServer.start(lab.directory);
        const files = { 'src/my.Dockerfile': 'FROM scratch\nCOPY my.Dockerfile /\n' };
        const commit = makeRepository(lab, join(lab.directory, 'repo.git'), files, { format, tag: 'v1' });
        const url = `${server.url}/repo.git/.git#v1`;
        const { descriptor } = await lab.build('', {
          file: 'my.Dockerfile',
          context: `${url}:src`.replace('//', '//user:pass@'),
          attest: { provenance: { version } },
        });
        const [, attestation] = (readManifest(lab.store, descriptor).value as ImageIndex).manifests;
        const [layer] = (readManifest(lab.store, attestation!).value as ImageManifest).layers;
        const text = lab.store.readBlob(layer!.digest).toString();
        assert.doesNotMatch(text, /user|pass/);
        const { predicateType, predicate } = JSON.parse(text);
        assert.equal(predicateType, `https://slsa.dev/provenance/${version}`);
        const { buildDefinition } = predicate;
        const { materials, source } =
          version === 'v1'
            ? {
                materials: buildDefinition.resolvedDependencies,
                source: { ...buildDefinition.externalParameters.configSource, entryPoint: undefined },
              }
            : { materials: predicate.materials, source: { ...predicate.invocation.configSource } };
        assert.deepEqual(materials, [{ uri: url, digest: { [format]: commit } }]);
        assert.equal(source.uri, `${url}:src`);
        assert.deepEqual(source.digest, { [format]: commit });
        assert.equal(source.path ?? source.entryPoint, 'my.Dockerfile');
      });
    }
  });
}
