import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BuildLab, whyNoRun } from './lab.ts';

/** As BuildKit: what is left empty is as if it were not there. */
describe('empty words', () => {
  it('FROM --platform= and COPY --from=', async () => {
    using lab = new BuildLab();
    lab.write({ f: 'text' });
    const { image } = await lab.build('FROM --platform= scratch\nCOPY --from= f /f');
    assert.equal(lab.read(image, 'f'), 'text');
  });

  it('a RUN without a command, but not one without a program', { skip: whyNoRun() }, async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { image } = await lab.build('FROM base\nRUN');
    assert.equal(image.config.history?.at(-1)?.created_by, 'RUN /bin/sh -c ');
    await assert.rejects(lab.build('FROM base\nRUN []'), { code: 'NO_COMMAND' });
  });
});
