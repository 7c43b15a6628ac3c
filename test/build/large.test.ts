import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BuildLab } from './lab.ts';

const times = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

describe('large Dockerfiles', () => {
  it('thousands of stages, each on the one above', async () => {
    using lab = new BuildLab();
    const { image } = await lab.build(`FROM scratch AS s0\n${times(5000, (i) => `FROM s${i} AS s${i + 1}`)}\nUSER 7`);
    assert.equal(image.config.config?.User, '7');
  });

  it('thousands of stages, each with a file of the one above', async () => {
    using lab = new BuildLab();
    lab.write({ f: 'text' });
    const stages = times(2000, (i) => `FROM scratch AS s${i + 1}\nCOPY --from=s${i} /f /f`);
    const { image } = await lab.build(`FROM scratch AS s0\nCOPY f /f\n${stages}`);
    assert.equal(lab.read(image, 'f'), 'text');
  });
});
