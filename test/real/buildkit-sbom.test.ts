/** BuildKit's cases of SBOMs that an image finds: its protocol, docs/attestations/sbom-protocol.md. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { parseAttestations } from '../../src/exporter/attest-options.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { readManifest } from '../../src/image/image.ts';
import type { ImageIndex, ImageManifest } from '../../src/oci/manifest.ts';
import { BuildLab, type BuildRun, whyNoRun } from '../build/lab.ts';

interface Statement {
  _type: string;
  predicateType: string;
  subject: { name: string; digest: Record<string, string> }[];
  predicate: { name: string; found?: string };
}

function statements(lab: BuildLab, { descriptor }: BuildRun): Statement[] {
  const { manifests } = readManifest(lab.store, descriptor).value as ImageIndex;
  return (manifests ?? [])
    .filter(({ annotations }) => annotations?.['vnd.docker.reference.type'] === 'attestation-manifest')
    .flatMap((child) => (readManifest(lab.store, child).value as ImageManifest).layers)
    .map(({ digest }) => JSON.parse(lab.store.readBlob(digest).toString()));
}

const names = (all: readonly Statement[]): string[] => all.map(({ predicate }) => predicate.name);

/** A statement for each root, and what the scanner saw. */
const SCANNER = `FROM base
ENV OWN=kept BUILDKIT_SCAN_SOURCE=wrong
WORKDIR /where
USER bob
COPY <<"END" /scan.sh
set -e
say() {
  cat >$BUILDKIT_SCAN_DESTINATION/$1.spdx.json <<DOCUMENT
{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","predicate":{"name":"$2","found":"$3"}}
DOCUMENT
}
say sbom core "$(ls $BUILDKIT_SCAN_SOURCE | xargs) $(id -u) $PWD $OWN $(echo "$BUILDKIT_SCAN_param1" | base64)"
touch $BUILDKIT_SCAN_SOURCE/x 2>/dev/null && exit 3
touch /tmp/x
if [ "$BUILDKIT_SCAN_SOURCE_EXTRAS" ]; then
  for src in "$BUILDKIT_SCAN_SOURCE_EXTRAS"/*; do say $(basename $src) extra "$(basename $src): $(ls $src | xargs)"; done
fi
END
CMD ["sh", "/scan.sh"]
`;

async function scannerLab(dockerfile: string = SCANNER): Promise<BuildLab> {
  const lab = new BuildLab();
  const tools = ['xargs', 'basename', 'base64', 'truncate', 'yes', 'head'];
  await lab.importBase(Object.fromEntries(tools.map((name) => [`bin/${name}`, '->busybox'])));
  await lab.build(dockerfile, { tags: ['scanner:latest'] });
  return lab;
}

const scanned = (more = ''): BuildOptions => ({ attest: parseAttestations({ sbom: `generator=scanner${more}` }) });

describe("BuildKit's cases of a scanner", { skip: whyNoRun() }, () => {
  const file = 'FROM scratch\nCOPY <<EOF /foo\ndata\nEOF\n';

  it('testSBOMScannerImage: its command runs on the result, which it cannot change', async () => {
    using lab = await scannerLab();
    const word = "$one'\\two `";
    const run = await lab.build(file, scanned(`,param1=${word}`));
    assert.equal(lab.read(run.image, 'foo'), 'data\n');
    assert.deepEqual(lab.paths(run.image), ['foo']);
    const [statement, ...others] = statements(lab, run);
    assert.deepEqual(others, []);
    assert.equal(statement!._type, 'https://in-toto.io/Statement/v1');
    assert.equal(statement!.predicateType, 'https://spdx.dev/Document');
    assert.equal(statement!.predicate.name, 'core');
    // As root and where the image says; with its own variables, but for those of the protocol.
    const said = Buffer.from(`${word}\n`).toString('base64');
    assert.equal(statement!.predicate.found, `foo 0 /where kept ${said}`);
    const again = await lab.build(file, scanned(`,param1=${word}`));
    assert.equal(again.descriptor.digest, run.descriptor.digest);
    assert.ok(
      again.cached.some((step) => step.startsWith('RUN ["sh"')),
      again.cached.join(),
    );
    const other = await lab.build(file, scanned(',param1=other'));
    assert.notEqual(other.descriptor.digest, run.descriptor.digest);
  });

  const nothing = 'FROM scratch as base\nCOPY <<EOF /foo\ndata\nEOF\nFROM base\n';
  const extras =
    'ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nFROM scratch as file\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY <<EOF /file\ndata\nEOF\n' +
    'FROM scratch as base\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY --from=file /file /foo\n' +
    'FROM scratch as base2\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY --from=file /file /bar\nRUN non-existent-command\n' +
    'FROM base\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n';
  const all = { BUILDKIT_SBOM_SCAN_CONTEXT: 'true', BUILDKIT_SBOM_SCAN_STAGE: 'true' };
  const none = { BUILDKIT_SBOM_SCAN_CONTEXT: 'false', BUILDKIT_SBOM_SCAN_STAGE: 'false' };
  const cases: [name: string, dockerfile: string, buildArgs: Record<string, string>, wanted: string[]][] = [
    ['what no ARG declares', nothing, all, []],
    ['the context, and the stages that are built', extras, {}, ['base: foo', 'context: given', 'file: file']],
    ['not where the caller says so', extras, none, []],
    ['some, by name', extras, { BUILDKIT_SBOM_SCAN_STAGE: 'other,file' }, ['context: given', 'file: file']],
  ];
  for (const [name, dockerfile, buildArgs, wanted] of cases) {
    it(`testSBOMScannerArgs: ${name}`, async () => {
      using lab = await scannerLab();
      lab.write({ given: 'x' });
      const run = await lab.build(dockerfile, { ...scanned(), buildArgs });
      const found = statements(lab, run);
      assert.deepEqual(names(found), ['core', ...wanted.map(() => 'extra')]);
      assert.deepEqual(
        found.slice(1).map(({ predicate }) => predicate.found),
        wanted.map((text) => `sbom-${text}`),
      );
    });
  }

  it('each platform is scanned, on this machine', async () => {
    using lab = await scannerLab();
    const platform = ['linux/amd64', 'linux/s390x'];
    const dockerfile = 'FROM scratch\nARG TARGETARCH\nCOPY <<EOF /$TARGETARCH\nEOF\n';
    const run = await lab.build(dockerfile, { ...scanned(), platform });
    const found = statements(lab, run).map(({ predicate }) => predicate.found!.split(' ')[0]);
    assert.deepEqual(found, ['amd64', 's390x']);
  });

  it('of a result that is files, the documents are beside them', async () => {
    using lab = await scannerLab();
    const dest = join(lab.directory, 'out');
    const outputs = [parseOutput(`type=local,dest=${dest}`), parseOutput('type=image')];
    await lab.build(file, { ...scanned(), outputs });
    assert.deepEqual(readdirSync(dest).sort(), ['foo', 'sbom.spdx.json']);
    const { subject } = JSON.parse(readFileSync(join(dest, 'sbom.spdx.json'), 'utf8')) as Statement;
    assert.deepEqual(
      subject.map(({ name }) => name),
      ['foo'],
    );
  });
});

describe('what a scanner may not write', { skip: whyNoRun() }, () => {
  const out = '$BUILDKIT_SCAN_DESTINATION';
  const predicate = '"predicateType":"https://spdx.dev/Document","predicate":';
  const deep = `(echo '{${predicate}'; yes '[' | head -n 200000; yes ']' | head -n 200000; echo '}') >${out}/a`;
  const bad: [name: string, script: string, code: string, message: RegExp][] = [
    ['what is no JSON', `echo hello >${out}/sbom.json`, 'BAD_SCAN', /sbom.json is not JSON/],
    ['another type', `echo '{"predicateType":"x"}' >${out}/a`, 'BAD_SCAN', /of another type, "x"/],
    ['a link', `ln -s /etc/passwd ${out}/a`, 'BAD_SCAN', /a is no SBOM: it is no regular file/],
    ['a directory', `mkdir ${out}/a`, 'BAD_SCAN', /it is no regular file/],
    ['too much', `truncate -s 50M ${out}/a`, 'BAD_SCAN', /it is larger than/],
    ['what is nested without end', deep, 'BAD_SCAN', /nested too deeply|not JSON/],
    ['nothing, with a failure', 'echo no; exit 7', 'RUN_FAILED', /exit code: 7/],
  ];
  for (const [name, script, code, message] of bad) {
    it(name, async () => {
      using lab = await scannerLab(`FROM base\nCMD ${script}`);
      await assert.rejects(lab.build('FROM scratch\nLABEL a=b', scanned()), { code, message });
    });
  }

  it('nothing is no document, and its own subjects stay', async () => {
    using lab = await scannerLab('FROM base\nCMD true');
    assert.deepEqual(statements(lab, await lab.build('FROM scratch\nLABEL a=b', scanned())), []);
    const statement = `{${predicate}{"name":"x"},"subject":[{"name":"","digest":{"sha1":"abc"}}]}`;
    await lab.build(`FROM base\nCMD echo '${statement}' >${out}/a`, { tags: ['scanner:latest'] });
    const [found] = statements(lab, await lab.build('FROM scratch\nLABEL a=b', scanned()));
    assert.deepEqual(found!.subject, [{ name: '_', digest: { sha1: 'abc' } }]);
  });

  it('a scanner without a command, one that is not there, and options without one', async () => {
    using lab = await scannerLab('FROM base\nLABEL a=b');
    await assert.rejects(lab.build('FROM scratch\nLABEL a=b', scanned()), { code: 'BAD_SCANNER' });
    const gone: BuildOptions = { attest: { sbom: { generator: 'gone', parameters: {} } } };
    await assert.rejects(lab.build('FROM scratch\nLABEL a=b', gone), { code: 'IMAGE_NOT_FOUND' });
    assert.throws(() => parseAttestations({ sbom: 'param=1' }), { code: 'BAD_ATTESTATION' });
    assert.throws(() => parseAttestations({ attest: ['type=sbom,generator='] }), { code: 'BAD_ATTESTATION' });
  });
});
