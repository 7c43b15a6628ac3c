import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parseArguments } from '../../src/cli/args.ts';
import { command } from '../../src/cli/commands/copy.ts';
import { Lab, layoutOf, type SampleImage, sampleImage, sha256 } from '../archive/lab.ts';

describe('imago copy', () => {
  let lab: Lab;
  let image: SampleImage;
  before(() => {
    lab = new Lab();
    image = sampleImage([lab.tar(lab.tree('l', { 'etc/os-release': 'ID=sample\n' }))]);
  });
  after(() => lab[Symbol.dispose]());

  async function run(...line: string[]): Promise<string> {
    const parsed = parseArguments(command, line);
    let out = '';
    const stream = { write: (text: string) => (out += text) } as unknown as NodeJS.WriteStream;
    const context = { ...parsed, stdout: stream, stderr: stream, signal: new AbortController().signal };
    assert.equal(await command.run(context as unknown as Parameters<typeof command.run>[0]), 0);
    return out;
  }

  it('prints what became of each blob, and the digest', async () => {
    const from = `oci:${lab.tree('from', layoutOf(image))}`;
    const to = `oci:${lab.path('to')}:v1`;
    const ids = [sha256(image.config), sha256(image.layers[0]!.blob)].map((digest) => digest.slice(7, 19));
    const last = `${to}: digest: ${sha256(image.manifest)} size: ${image.manifest.length}`;
    const lines = (await run(from, to)).trimEnd().split('\n');
    assert.deepEqual(lines.slice(0, 2).sort(), ids.map((id) => `${id}: Copied`).sort());
    assert.deepEqual(lines.slice(2), [last]);
    assert.match(await run(from, to), new RegExp(`^${ids[0]}: Already exists$`, 'm'));
    assert.equal(await run('-q', from, to), `${sha256(image.manifest)}\n`);
    await assert.rejects(() => run('--platform', 'linux/s390x', from, to), { code: 'PLATFORM_MISMATCH' });
  });
});
