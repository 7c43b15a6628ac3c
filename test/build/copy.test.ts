import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { copyCases } from './copy-cases.ts';
import { BuildLab } from './lab.ts';

describe('COPY and ADD', () => {
  for (const { name, files, lines, want } of copyCases) {
    it(name, async () => {
      using lab = new BuildLab();
      lab.write(files);
      const { image } = await lab.build(`FROM scratch\n${lines}`);
      assert.deepEqual(lab.list(image), want);
    });
  }
});
