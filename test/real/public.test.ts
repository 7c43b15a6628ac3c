import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { debianPackages } from './public-debian.ts';
import { PublicLab } from './public-lab.ts';
import { npmPackages } from './public-npm.ts';

const packages = [...debianPackages, ...npmPackages];
const wanted: string[] = (process.env.IMAGO_TEST_DOCKERFILES_ONLY ?? '').split(' ').filter((name) => name !== '');
const skip: string | false = process.getuid?.() === 0 ? false : 'RUN needs root';

describe('Dockerfiles of public projects, fetched, build as docker builds them', { concurrency: 2, skip }, () => {
  const lab = new PublicLab();
  before(() => lab.open(packages), { timeout: 300_000 });
  after(() => lab[Symbol.asyncDispose]());
  const dockerfiles = packages.flatMap((item) => item.dockerfiles);
  for (const fetches of [false, true]) {
    for (const { name } of dockerfiles.filter((item) => (item.fetches === true) === fetches)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      it(name, { timeout: 300_000 }, async (t) => {
        const result = await lab.compare(name);
        if (typeof result === 'string') t.skip(result);
        else assert.deepEqual(result, []);
      });
    }
  }
});
