import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BuildLab, whyNoRun } from './lab.ts';

describe("a step's host name", { skip: whyNoRun() }, () => {
  const dockerfile = 'FROM base\nRUN busybox hostname && grep -c "127.0.0.1.*$(busybox hostname)" /etc/hosts';

  it("is the same everywhere, whatever the machine's is, and found in /etc/hosts", async () => {
    using lab = new BuildLab();
    await lab.importBase();
    for (const network of ['host', 'none'] as const) {
      assert.equal((await lab.build(dockerfile, { network })).output, 'buildkitsandbox\n1\n');
    }
  });

  it('BUILDKIT_SANDBOX_HOSTNAME sets it, and is part of the key', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const build = (name: string) => lab.build(dockerfile, { buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: name } });
    assert.equal((await lab.build(dockerfile)).output, 'buildkitsandbox\n1\n');
    assert.equal((await build('own')).output, 'own\n1\n');
    assert.equal((await build('other')).output, 'other\n1\n');
    assert.equal((await build('own')).output, '');
    assert.equal((await lab.build(dockerfile)).output, '');
    for (const bad of ['two words', 'line\n', '-x', 'x'.repeat(70)])
      await assert.rejects(build(bad), { code: 'BAD_HOSTNAME' });
  });
});
