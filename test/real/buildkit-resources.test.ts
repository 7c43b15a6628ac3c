/** BuildKit's cases of limits of a step, as the kernel has them. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseResourceLimits } from '../../src/runtime/resources.ts';
import { BuildLab, whyNoRun } from '../build/lab.ts';

const ROOT = '/sys/fs/cgroup';
const UNIFIED = existsSync(join(ROOT, 'cgroup.controllers'));
/** Where a controller's groups are. */
const hierarchy = (controller: string): string => (UNIFIED ? ROOT : join(ROOT, controller));

/** A group of every hierarchy below which steps may run; it is gone when this is disposed. */
class CgroupParent implements Disposable {
  readonly name: string = `imago-test-${process.pid}`;

  get directories(): string[] {
    const all = UNIFIED ? [ROOT] : readdirSync(ROOT).map((controller) => join(ROOT, controller));
    return all.map((directory) => join(directory, this.name));
  }

  constructor() {
    mkdirSync(join(hierarchy('pids'), this.name));
  }

  [Symbol.dispose](): void {
    for (const directory of this.directories) if (existsSync(directory)) rmdirSync(directory);
  }
}

function whyNoLimit(controller: string, file: string): string | false {
  const why = whyNoRun();
  if (why) return why;
  using parent = tryParent();
  if (parent === undefined) return 'cgroups cannot be made here';
  const path = UNIFIED ? join(ROOT, parent.name, file) : join(ROOT, controller);
  return existsSync(path) ? false : `there is no cgroup controller ${controller}`;
}

function tryParent(): CgroupParent | undefined {
  try {
    return new CgroupParent();
  } catch {
    return undefined;
  }
}

describe("BuildKit's cases of a step's cgroup", { skip: whyNoLimit('pids', 'pids.max') }, () => {
  it('testCgroupParent: what its parent may not have, the step has not, and it does not see the name', async () => {
    using parent = new CgroupParent();
    using lab = new BuildLab();
    await lab.importBase();
    writeFileSync(join(hierarchy('pids'), parent.name, 'pids.max'), '10');
    const run = `RUN mkdir /out; (for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done 2>/out/error); cat /proc/self/cgroup >/out/cgroup`;
    const limited = await lab.build(`FROM base\n${run}`, { runSettings: { cgroupParent: parent.name } });
    assert.match(lab.read(limited.image, 'out/error')!, /can't fork: Resource temporarily unavailable/);
    const lines = lab.read(limited.image, 'out/cgroup')!;
    assert.match(lines, /^\d+:.*:\/$/m);
    assert.doesNotMatch(lines, /imago-test/);
    // Without it nothing is in the way.
    const free = await lab.build(`FROM base\n${run}`, { noCache: true });
    assert.equal(lab.read(free.image, 'out/error'), '');
  });
});

describe("BuildKit's cases of a step's limits", { skip: whyNoLimit('memory', 'memory.max') }, () => {
  it('testLinuxResources, and none of them is part of the key', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const files = UNIFIED
      ? ['memory.max', 'cpu.weight', 'cpu.max']
      : ['memory/memory.limit_in_bytes', 'cpu/cpu.shares', 'cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us'];
    const dockerfile = `FROM base\nRUN cd ${ROOT} && cat ${files.join(' ')} >/out`;
    const resources = parseResourceLimits(['memory=64m', 'cpu-shares=512', 'cpu-quota=50000', 'cpu-period=200000']);
    const { image } = await lab.build(dockerfile, { runSettings: { resources } });
    const [memory, , ...cpu] = lab.read(image, 'out')!.trim().split(/\s+/);
    assert.equal(memory, String(64 * 2 ** 20));
    assert.deepEqual(cpu, ['50000', '200000']);
    const again = await lab.build(dockerfile, { runSettings: { resources: { memory: 128 * 2 ** 20 } } });
    assert.ok(again.cached.some((step) => step.startsWith('RUN')));
  });

  it('a step that takes more memory than it may have is ended', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    // The words of a file that is read into a variable.
    const dockerfile = 'FROM base\nRUN x=0123456789abcdef; while true; do x=$x$x; done';
    const build = lab.build(dockerfile, { runSettings: { resources: parseResourceLimits(['memory=16m']) } });
    await assert.rejects(build, { code: 'RUN_FAILED', message: /137/ });
  });
});
