import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PublicDockerfile } from './public-case.ts';
import { debianPackages } from './public-debian.ts';
import { PublicLab } from './public-lab.ts';
import { npmPackages } from './public-npm.ts';

const packages = [...debianPackages, ...npmPackages];
const wanted: string[] = (process.env.IMAGO_TEST_DOCKERFILES_ONLY ?? '').split(' ').filter((name) => name !== '');
const skip: string | false = process.getuid?.() === 0 ? false : 'RUN needs root';

it('SOURCES.md says where each comes from', () => {
  const text = readFileSync(join(import.meta.dirname, 'SOURCES.md'), 'utf8');
  for (const { project, licence, package: name, version, dockerfiles } of packages) {
    for (const dockerfile of dockerfiles) {
      const line = text.split('\n').find((row) => row.startsWith(`| ${dockerfile.name} |`));
      for (const word of [project, licence, name, version, dockerfile.path, dockerfile.sha256]) {
        assert.ok(line?.includes(word), `${dockerfile.name}: ${word}`);
      }
    }
  }
});

describe('Dockerfiles of public projects, fetched, build as docker builds them', { concurrency: 2, skip }, () => {
  let lab: PublicLab | undefined;
  const dockerfiles = packages
    .flatMap((item) => item.dockerfiles)
    .filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  const fetches = dockerfiles.some((item) => item.fetches === true);
  before(
    async () => {
      lab = new PublicLab();
      await lab.open(packages, fetches);
    },
    { timeout: 300_000 },
  );
  after(() => lab?.[Symbol.asyncDispose]());
  const compare = ({ name }: PublicDockerfile): void =>
    void it(name, { timeout: 300_000 }, async (t) => {
      const result = await lab!.compare(name);
      if (typeof result === 'string') t.skip(result);
      else assert.deepEqual(result, []);
    });
  for (const item of dockerfiles) if (item.fetches !== true) compare(item);
  // One after the other: steps that they share are done once.
  describe('those that fetch', { concurrency: 1 }, () => {
    for (const item of dockerfiles) if (item.fetches === true) compare(item);
  });
});
