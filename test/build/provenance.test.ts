import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Materials, withoutSecrets } from '../../src/build/provenance.ts';
import type { Digest } from '../../src/core/digest.ts';
import { type BuildResult, buildImage } from '../../src/engine/build.ts';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { pruneStore } from '../../src/engine/prune.ts';
import { verifyStore } from '../../src/engine/verify.ts';
import { parseAttestations } from '../../src/exporter/attest-options.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { readManifest } from '../../src/image/image.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import type { ImageIndex, ImageManifest } from '../../src/oci/manifest.ts';
import { Store } from '../../src/store/store.ts';
import { pullImage } from '../../src/transfer/pull.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { BuildLab } from './lab.ts';

interface Statement {
  _type: string;
  predicateType: string;
  subject: { name: string; digest: Record<string, string> }[];
  // biome-ignore lint/suspicious/noExplicitAny: what others read of it is compared below
  predicate: any;
}

function build(lab: BuildLab, text: string, options: BuildOptions): Promise<BuildResult> {
  const file = { name: 'Dockerfile', text };
  return buildImage(lab.store, { pull: 'never', context: lab.context, file, ...options });
}

function whyNoGit(): string | false {
  return spawnSync('git', ['--version']).status === 0 ? false : 'git is not installed';
}

async function listen(t: TestContext, server: Server): Promise<number> {
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** The statements in the attestation manifests of an index, each with the digest that its manifest is about. */
function statements(lab: BuildLab, { descriptor }: BuildResult): { about: string; statement: Statement }[] {
  const { manifests } = readManifest(lab.store, descriptor).value as ImageIndex;
  return manifests.flatMap((child) => {
    const about = child.annotations?.['vnd.docker.reference.digest'];
    if (child.annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest' || about === undefined) return [];
    assert.deepEqual(child.platform, { architecture: 'unknown', os: 'unknown' });
    const manifest = readManifest(lab.store, child).value as ImageManifest;
    const config = JSON.parse(lab.store.readBlob(manifest.config.digest).toString()) as {
      rootfs: { diff_ids: string[] };
    };
    assert.deepEqual(
      config.rootfs.diff_ids,
      manifest.layers.map(({ digest }) => digest),
    );
    return manifest.layers.map((layer) => {
      assert.equal(layer.mediaType, 'application/vnd.in-toto+json');
      const statement = JSON.parse(lab.store.readBlob(layer.digest).toString()) as Statement;
      assert.equal(layer.annotations!['in-toto.io/predicate-type'], statement.predicateType);
      return { about, statement };
    });
  });
}

describe('attestations of an image', () => {
  it('stand in an index as BuildKit has them, and speak of the image beside them', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a' });
    const tags = ['example.org/team/app:1'];
    const attest = parseAttestations({ provenance: 'true', sbom: 'true' });
    const result = await build(lab, 'FROM scratch\nCOPY a /a\n', { tags, attest });
    const { manifests } = readManifest(lab.store, result.descriptor).value as ImageIndex;
    assert.equal(manifests.length, 2);
    const [image] = manifests;
    const found = statements(lab, result);
    assert.deepEqual(
      found.map(({ statement }) => statement.predicateType),
      ['https://spdx.dev/Document', 'https://slsa.dev/provenance/v1'],
    );
    for (const { about, statement } of found) {
      assert.equal(about, image!.digest);
      assert.equal(statement._type, 'https://in-toto.io/Statement/v1');
      const name = `pkg:docker/example.org/team/app@1?platform=${image!.platform!.os}%2F${image!.platform!.architecture}`;
      assert.deepEqual(statement.subject, [{ name, digest: { sha256: image!.digest.slice(7) } }]);
    }
    // The name is of the image for everything else, and a prune keeps it all.
    assert.equal(resolveImage(lab.store, tags[0]!).descriptor.digest, image!.digest);
    await pruneStore(lab.store, {});
    assert.equal(statements(lab, result).length, 2);
    // Without them it is a manifest, as ever.
    const plain = await build(lab, 'FROM scratch\nCOPY a /a\n', { tags });
    assert.equal(plain.descriptor.digest, image!.digest);
  });

  it('of several platforms: one manifest each', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a' });
    const platform = ['linux/amd64', 'linux/arm64'];
    const attest = parseAttestations({ provenance: 'true' });
    const result = await build(lab, 'FROM scratch\nCOPY a /a\n', { platform, attest, tags: ['app:1'] });
    assert.deepEqual(
      statements(lab, result).map(({ about }) => about),
      result.platforms.map(({ descriptor }) => descriptor.digest),
    );
    assert.ok('buildx.build.provenance/linux/arm64' in result.metadata);
    assert.equal(result.id, result.descriptor.digest);
  });

  it('as OCI artifacts with a subject, where that is asked for', async () => {
    using lab = new BuildLab();
    const outputs = [parseOutput('type=image,oci-artifact=true')];
    const { descriptor } = await build(lab, 'FROM scratch\n', { outputs, attest: { provenance: {} } });
    const { manifests } = readManifest(lab.store, descriptor).value as ImageIndex;
    const { artifactType, subject, config } = readManifest(lab.store, manifests[1]!).value as ImageManifest;
    assert.equal(artifactType, 'application/vnd.docker.attestation.manifest.v1+json');
    assert.equal(subject?.digest, manifests[0]!.digest);
    assert.equal(config.mediaType, 'application/vnd.oci.empty.v1+json');
  });

  for (const artifact of ['true', 'false']) {
    it(`are verified as blobs, oci-artifact=${artifact}`, async () => {
      using lab = new BuildLab();
      lab.write({ a: 'a' });
      const outputs = [parseOutput(`type=image,oci-artifact=${artifact}`)];
      const attest = { provenance: {}, sbom: true as const };
      const { descriptor } = await build(lab, 'FROM scratch\nCOPY a /a\n', { outputs, attest, tags: ['app:1'] });
      assert.deepEqual((await verifyStore(lab.store)).damaged, []);
      const { manifests } = readManifest(lab.store, descriptor).value as ImageIndex;
      const { layers } = readManifest(lab.store, manifests[1]!).value as ImageManifest;
      const [changed, missing] = layers.map(({ digest }) => digest) as [Digest, Digest];
      rmSync(lab.store.blobPath(changed));
      writeFileSync(lab.store.blobPath(changed), '{}');
      rmSync(lab.store.blobPath(missing));
      const { damaged } = await verifyStore(lab.store);
      const found = damaged.map(({ digest, kind, references }) => [digest, kind, references.length]);
      assert.deepEqual(
        found.sort(),
        [
          [changed, 'blob', 1],
          [missing, 'blob', 1],
        ].sort(),
      );
    });
  }

  it('go with oci-mediatypes=false into nothing', async () => {
    using lab = new BuildLab();
    const outputs = [parseOutput('type=image,oci-mediatypes=false')];
    await assert.rejects(build(lab, 'FROM scratch\n', { outputs, attest: { sbom: true } }), { code: 'BAD_OUTPUT' });
  });

  it('of files are files, about each of them', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'text', 'd/b': 'b' });
    const dest = join(lab.directory, 'out');
    const outputs = [parseOutput(`type=local,attestation-prefix=x.,dest=${dest}`)];
    await build(lab, 'FROM scratch\nCOPY . /\n', { outputs, attest: { provenance: { version: 'v1' }, sbom: true } });
    const { predicateType, subject } = JSON.parse(readFileSync(join(dest, 'x.provenance.json'), 'utf8')) as Statement;
    assert.equal(predicateType, 'https://slsa.dev/provenance/v1');
    const sha256 = (text: string): object => ({ sha256: createHash('sha256').update(text).digest('hex') });
    assert.deepEqual(subject, [
      { name: 'a', digest: sha256('text') },
      { name: 'd/b', digest: sha256('b') },
    ]);
    assert.ok(readFileSync(join(dest, 'x.sbom.spdx.json'), 'utf8').includes('"SPDX-2.3"'));
  });
});

describe('attestations at a registry', () => {
  it('arrive with the image that they speak of; a pull takes the image and leaves them', async () => {
    using lab = new BuildLab();
    await using registry = await FakeRegistry.start();
    lab.write({ a: 'a' });
    const tags = [`${registry.host}/team/app:1`, `${registry.host}/team/app:2`, `${registry.host}/other:1`];
    const attest = parseAttestations({ provenance: 'true', sbom: 'true' });
    const result = await build(lab, 'FROM scratch\nCOPY a /a\n', { tags, attest, push: true });
    const { about, statement } = statements(lab, result)[0]!;
    assert.deepEqual(
      statement.subject.map(({ digest }) => `sha256:${digest.sha256}`),
      [about, about, about],
    );
    for (const [name, tag] of [
      ['team/app', '1'],
      ['team/app', '2'],
      ['other', '1'],
    ] as const) {
      const repository = registry.repository(name);
      assert.equal(repository.tags.get(tag), result.descriptor.digest);
      const image = JSON.parse(repository.manifests.get(about)!.bytes.toString()) as ImageManifest;
      assert.equal(image.layers[0]!.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
    }
    const other = Store.open({ root: join(lab.directory, 'root2'), run: join(lab.directory, 'run2') });
    await pullImage(other, tags[0]!);
    const pulled = resolveImage(other, tags[0]!);
    assert.equal(pulled.descriptor.digest, about);
    const { manifests } = readManifest(other, other.getRef(tags[0]!)!).value as ImageIndex;
    assert.deepEqual(
      manifests.map(({ digest }) => other.hasBlob(digest)),
      [true, false],
    );
  });
});

describe('a provenance', () => {
  const file = 'ARG TOKEN\nFROM base\nARG OTHER=x\nCOPY a /a\nLABEL b=c\n';
  const options: BuildOptions = {
    buildArgs: { TOKEN: 'word-of-the-caller', HTTP_PROXY: 'http://me:hidden@proxy:3128' },
    labels: { own: 'label' },
    secrets: { key: { env: 'IMAGO_TEST_SECRET' } } as BuildOptions['secrets'],
    target: '0',
  };

  async function make(
    lab: BuildLab,
    how: string,
  ): Promise<{ predicate: Statement['predicate']; text: string; base: string }> {
    lab.write({ a: 'a' });
    const { descriptor } = await build(lab, 'FROM scratch\nCOPY a /base\n', { tags: ['base:latest'] });
    process.env.IMAGO_TEST_SECRET = 'never-told';
    const attest = parseAttestations({ provenance: how });
    const { statement } = statements(lab, await build(lab, file, { ...options, attest }))[0]!;
    return { predicate: statement.predicate, text: JSON.stringify(statement), base: descriptor.digest };
  }

  it('with mode=min tells what it was made of, and none of the words it was made with', async () => {
    using lab = new BuildLab();
    const { predicate, text, base } = await make(lab, 'version=v0.2,mode=min,builder-id=https://ci.example/1');
    assert.equal(predicate.builder.id, 'https://ci.example/1');
    assert.equal(predicate.buildType, 'https://mobyproject.org/buildkit@v1');
    const [material] = predicate.materials;
    assert.match(material.uri, /^pkg:docker\/base@latest\?platform=linux%2F/);
    assert.deepEqual(material.digest, { sha256: base.slice(7) });
    assert.deepEqual(predicate.invocation.parameters, {
      frontend: 'dockerfile.v0',
      args: { target: '0' },
      locals: [{ name: 'context' }, { name: 'dockerfile' }],
    });
    assert.deepEqual(predicate.metadata.completeness, { parameters: false, environment: true, materials: false });
    assert.ok(Date.parse(predicate.metadata.buildStartedOn) <= Date.parse(predicate.metadata.buildFinishedOn));
    for (const word of ['word-of-the-caller', 'hidden', 'never-told', 'label', 'OTHER', '"key"'])
      assert.ok(!text.includes(word), word);
  });

  it('with mode=max tells arguments, labels, IDs of secrets and the Dockerfile, but no secret and no password', async () => {
    using lab = new BuildLab();
    const { predicate, text } = await make(lab, 'version=v0.2,mode=max,reproducible=true');
    const { args, secrets } = predicate.invocation.parameters;
    assert.deepEqual(args, {
      target: '0',
      'build-arg:TOKEN': 'word-of-the-caller',
      'build-arg:HTTP_PROXY': 'http://proxy:3128',
      'label:own': 'label',
    });
    assert.deepEqual(secrets, [{ id: 'key' }]);
    const { infos } = predicate.metadata['https://mobyproject.org/buildkit@v1#metadata'].source;
    assert.equal(Buffer.from(infos[0].data, 'base64').toString(), file);
    assert.equal(predicate.metadata.completeness.parameters, true);
    assert.equal(predicate.metadata.reproducible, true);
    for (const word of ['hidden', 'never-told']) assert.ok(!text.includes(word), word);
  });

  it('of SLSA 1 has the same in other places', async () => {
    using lab = new BuildLab();
    const { predicate } = await make(lab, 'mode=min');
    assert.equal(predicate.buildDefinition.resolvedDependencies.length, 1);
    assert.equal(predicate.buildDefinition.externalParameters.configSource.path, 'Dockerfile');
    assert.deepEqual(predicate.runDetails.metadata.buildkit_completeness, {
      request: false,
      resolvedDependencies: false,
    });
    assert.ok(predicate.runDetails.metadata.invocationId.length > 10);
  });

  it('has what ADD fetched, from the cache too', async (t) => {
    using lab = new BuildLab();
    const server = createServer((_, response) => void response.setHeader('etag', '"1"').end('bytes'));
    const port = await listen(t, server);
    const url = `http://127.0.0.1:${port}/file`;
    for (const run of ['fresh', 'cached']) {
      const result = await build(lab, `FROM scratch\nADD ${url}?signature=hidden /x\n`, {
        attest: { provenance: { version: 'v0.2' } },
      });
      const { statement } = statements(lab, result)[0]!;
      const sha256 = createHash('sha256').update('bytes').digest('hex');
      assert.deepEqual(statement.predicate.materials, [{ uri: url, digest: { sha256 } }], run);
    }
  });

  it('has the digest of what came by http: a packed context as it came, a Dockerfile, a named context', async (t) => {
    using lab = new BuildLab();
    lab.write({ Dockerfile: 'FROM scratch\nCOPY --from=more / /\n' });
    const files = new Map<string | undefined, Buffer>([
      ['/c.tar.gz', gzipSync(execFileSync('tar', ['-cC', lab.context, 'Dockerfile']))],
      ['/more', Buffer.from('more')],
      ['/Dockerfile', Buffer.from('FROM scratch\nLABEL a=b\n')],
    ]);
    const server = createServer(({ url }, response) => void response.end(files.get(url?.replace(/\?.*/, ''))));
    const base = `http://127.0.0.1:${await listen(t, server)}`;
    const of = (name: string): object => ({
      uri: base + name,
      digest: { sha256: createHash('sha256').update(files.get(name)!).digest('hex') },
    });
    const attest = { provenance: { version: 'v0.2' as const } };
    const contexts = { more: `${base}/more` };
    const whole = await buildImage(lab.store, { context: `${base}/c.tar.gz?key=hidden`, contexts, attest });
    const { materials, invocation } = statements(lab, whole)[0]!.statement.predicate;
    assert.deepEqual(materials, [of('/c.tar.gz'), of('/more')]);
    assert.deepEqual(invocation.configSource, { ...of('/c.tar.gz'), entryPoint: 'Dockerfile' });
    const alone = await buildImage(lab.store, { context: `${base}/Dockerfile`, attest });
    const { predicate } = statements(lab, alone)[0]!.statement;
    assert.deepEqual(predicate.materials, [of('/Dockerfile')]);
    assert.equal(predicate.metadata.completeness.materials, true);
  });

  it('has the commit of a git context, and then knows all its materials', { skip: whyNoGit() }, async (t) => {
    using lab = new BuildLab();
    const work = join(lab.directory, 'work');
    mkdirSync(work);
    writeFileSync(join(work, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n');
    const git = (...words: string[]): string =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', '-C', work, ...words], {
        encoding: 'utf8',
      }).trim();
    git('init', '-q', '-b', 'main');
    git('add', '.');
    git('commit', '-qm', 'x');
    execFileSync('git', ['clone', '-q', '--bare', work, join(lab.directory, 'repo.git')]);
    execFileSync('git', ['-C', join(lab.directory, 'repo.git'), 'update-server-info']);
    const server = createServer((request, response) => {
      try {
        response.end(readFileSync(join(lab.directory, request.url!.split('?')[0]!)));
      } catch {
        response.writeHead(404).end();
      }
    });
    const url = `http://127.0.0.1:${await listen(t, server)}/repo.git`;
    const result = await buildImage(lab.store, { context: `${url}#main`, attest: { provenance: { version: 'v0.2' } } });
    const { statement } = statements(lab, result)[0]!;
    const digest = { sha1: git('rev-parse', 'HEAD') };
    assert.deepEqual(statement.predicate.materials, [{ uri: `${url}#main`, digest }]);
    assert.deepEqual(statement.predicate.invocation.configSource, {
      uri: `${url}#main`,
      digest,
      entryPoint: 'Dockerfile',
    });
    assert.equal(statement.predicate.metadata.completeness.materials, true);
    assert.equal(statement.predicate.metadata['https://mobyproject.org/buildkit@v1#hermetic'], true);
  });

  it('keeps names, passwords and signatures of URLs to itself', () => {
    assert.equal(withoutSecrets('https://me:pass@host/a?token=x#ref'), 'https://host/a#ref');
    assert.equal(withoutSecrets('git@host:team/repo.git#main'), 'git@host:team/repo.git#main');
    const materials = new Materials();
    materials.addGit('https://me:pass@host/r.git', 'a'.repeat(64));
    assert.deepEqual(materials.list(), [{ uri: 'https://host/r.git', digest: { sha256: 'a'.repeat(64) } }]);
  });
});
