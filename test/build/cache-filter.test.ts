import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BuildLab } from './lab.ts';

const DOCKERFILE = `FROM scratch AS One
COPY a /
FROM scratch
COPY b /
FROM scratch AS three
COPY a b /
COPY --from=one /a /x/
COPY --from=1 /b /x/`;

const STEPS = ['COPY a /', 'COPY b /', 'COPY a b /', 'COPY --from=one /a /x/', 'COPY --from=1 /b /x/'];
const CASES: [filter: string[], anew: string[]][] = [
  [[], []],
  [['one'], ['COPY a /']],
  [['ONE'], ['COPY a /']],
  [['1'], ['COPY b /']],
  [['three'], STEPS.slice(2)],
  [['one', '1'], STEPS.slice(0, 2)],
  [['none-of-them'], []],
];

for (const [filter, anew] of CASES) {
  it(`--no-cache-filter ${filter.join(',')}: ${anew.length} of 5 steps are done anew`, async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a', b: 'b' });
    const first = await lab.build(DOCKERFILE);
    const again = await lab.build(DOCKERFILE, { noCacheFilter: filter });
    const steps = (names: string[]): string[] => STEPS.filter((step) => names.some((name) => name.endsWith(step)));
    assert.deepEqual(steps(again.done), anew);
    assert.deepEqual(
      steps(again.cached),
      STEPS.filter((step) => !anew.includes(step)),
    );
    assert.equal(again.image.diffIds.length, first.image.diffIds.length);
  });
}
