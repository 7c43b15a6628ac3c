import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attributeCases } from './copy-attribute-cases.ts';
import { type CopyCase, copyCases, FILES, writeArchives } from './copy-cases.ts';
import { patternCases } from './copy-pattern-cases.ts';
import { placeCases } from './copy-place-cases.ts';
import { BuildLab } from './lab.ts';

async function tryCase({ files, archive, lines, want }: CopyCase): Promise<void> {
  using lab = new BuildLab();
  lab.write({ ...FILES, ...files });
  if (archive) writeArchives(lab.context);
  const { image } = await lab.build(`FROM scratch\n${lines}`);
  assert.deepEqual(lab.list(image), want);
}

describe('COPY and ADD', () => {
  for (const item of copyCases) it(item.name, () => tryCase(item));
});

describe('COPY and ADD: flags', () => {
  for (const item of [...placeCases, ...attributeCases, ...patternCases])
    it(`${item.group}: ${item.name}`, () => tryCase(item));
});
