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

  it('ten thousand LABELs and ENVs', async () => {
    using lab = new BuildLab();
    const lines = times(10_000, (i) => (i % 2 === 0 ? `LABEL l${i % 9000}=${i}` : `ENV e${i % 9000}=${i}`));
    const begun = process.cpuUsage();
    const { image } = await lab.build(`FROM scratch AS a\n${lines}\nFROM a\nLABEL own=1 l2=again`);
    const { Labels, Env } = image.config.config!;
    assert.equal(Object.keys(Labels!).length, 4501);
    assert.deepEqual([Labels!.l0, Labels!.l4, Labels!.l2, Labels!.own], ['9000', '9004', 'again', '1']);
    assert.equal(Env!.length, 4501);
    assert.ok(Env!.includes('e1=9001') && Env!.includes('e8999=8999'));
    // The processor's time, seconds more than enough; without care it takes half a minute.
    const { user, system } = process.cpuUsage(begun);
    assert.ok(user + system < 15_000_000);
  });
});
