import assert from 'node:assert/strict';
import test from 'node:test';
import { DEFAULT_CAPABILITIES, grantableCapabilities, selectCapabilities } from '../../src/runtime/capabilities.ts';
import { bindMount } from '../../src/runtime/default-mounts.ts';
import { parseMemory, parseResources } from '../../src/runtime/resources.ts';
import { defaultSeccomp } from '../../src/runtime/seccomp.ts';
import { generateSpec, type SpecOptions } from '../../src/runtime/spec.ts';

const OPTIONS: SpecOptions = {
  process: {
    args: ['/bin/true'],
    env: ['PATH=/bin'],
    cwd: '/',
    user: { uid: 1, gid: 2, additionalGids: [3], home: '/' },
    terminal: false,
    capabilities: [...DEFAULT_CAPABILITIES],
    oomScoreAdj: 0,
    openFilesLimit: 4096,
  },
  rootfs: '/run/x/rootfs',
  hostname: 'box',
  network: 'none',
  cgroupsPath: '/imago/x',
};

test("a container has Docker's fourteen capabilities, and none to inherit", () => {
  const { capabilities } = generateSpec(OPTIONS).process;
  assert.equal(capabilities?.bounding.length, 14);
  assert.deepEqual(capabilities?.effective, capabilities?.bounding);
  assert.deepEqual(capabilities?.permitted, capabilities?.bounding);
  assert.deepEqual([capabilities?.inheritable, capabilities?.ambient], [[], []]);
});

test("namespaces: all of a container's own, and no network namespace in the host's network", () => {
  const types = (spec: ReturnType<typeof generateSpec>): string[] => spec.linux.namespaces.map(({ type }) => type);
  assert.deepEqual(types(generateSpec(OPTIONS)).sort(), ['cgroup', 'ipc', 'mount', 'network', 'pid', 'uts']);
  const host = generateSpec({ ...OPTIONS, network: 'host' });
  assert.ok(!types(host).includes('network'));
  assert.equal(host.linux.sysctl, undefined);
});

test('limits of open files stay within our own', () => {
  assert.deepEqual(generateSpec(OPTIONS).process.rlimits, [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 4096 }]);
  const small = generateSpec({ ...OPTIONS, process: { ...OPTIONS.process, openFilesLimit: 512 } });
  assert.deepEqual(small.process.rlimits, [{ type: 'RLIMIT_NOFILE', soft: 512, hard: 512 }]);
});

test("a mount over one of Docker's takes its place", () => {
  const spec = generateSpec({ ...OPTIONS, mounts: [bindMount('/dev/shm', '/dev/shm', ['ro'])] });
  const found = spec.mounts.filter(({ destination }) => destination === '/dev/shm');
  assert.deepEqual(found, [
    { destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind', 'rprivate', 'ro'] },
  ]);
});

test('resources become cgroup limits', () => {
  const resources = { memory: 200 << 20, cpus: 1.5, pidsLimit: 50 };
  const { resources: out } = generateSpec({ ...OPTIONS, resources }).linux;
  assert.deepEqual(out.memory, { limit: 200 << 20 });
  assert.deepEqual(out.cpu, { quota: 150_000, period: 100_000 });
  assert.deepEqual(out.pids, { limit: 50 });
  assert.deepEqual(out.devices, [{ allow: false, access: 'rwm' }]);
});

test('seccomp: new namespaces need CAP_SYS_ADMIN', () => {
  const rulesOf = (capabilities: readonly string[], name: string): string[] =>
    defaultSeccomp(capabilities, 'x64')
      .syscalls.filter(({ names }) => names.includes(name))
      .map(({ action, args }) => (args === undefined ? action : `${action} if`));
  assert.deepEqual(rulesOf([], 'clone'), ['SCMP_ACT_ALLOW if']);
  assert.deepEqual(rulesOf([], 'clone3'), ['SCMP_ACT_ERRNO']);
  assert.deepEqual(rulesOf([], 'mount'), []);
  assert.deepEqual(rulesOf(['CAP_SYS_ADMIN'], 'clone'), ['SCMP_ACT_ALLOW']);
  assert.deepEqual(rulesOf(['CAP_SYS_ADMIN'], 'mount'), ['SCMP_ACT_ALLOW']);
  assert.deepEqual(rulesOf(DEFAULT_CAPABILITIES, 'chroot'), ['SCMP_ACT_ALLOW']);
  assert.equal(rulesOf([], 'socket').length, 3);
  assert.equal(rulesOf([], 'keyctl').length, 0);
});

const CHOICES: [add: string[], drop: string[], want: (all: string[]) => boolean][] = [
  [['net_admin'], [], (all) => all.length === 15 && all.includes('CAP_NET_ADMIN')],
  [[], ['ALL'], (all) => all.length === 0],
  [['CAP_CHOWN'], ['all'], (all) => all.join() === 'CAP_CHOWN'],
  [['ALL'], ['SYS_ADMIN'], (all) => all.length === 40 && !all.includes('CAP_SYS_ADMIN')],
  [[], ['MKNOD'], (all) => all.length === 13 && !all.includes('CAP_MKNOD')],
];
for (const [add, drop, want] of CHOICES) {
  test(`capabilities: add ${add.join() || 'none'}, drop ${drop.join() || 'none'}`, () => {
    assert.ok(want(selectCapabilities({ add, drop })));
  });
}

test('unknown capabilities are refused, and those we lack are not passed on', () => {
  assert.throws(() => selectCapabilities({ add: ['FLY'] }), { code: 'BAD_CAPABILITY' });
  const status = 'CapBnd:\t0000000000000001\n';
  assert.deepEqual(grantableCapabilities(['CAP_CHOWN', 'CAP_KILL'], status), ['CAP_CHOWN']);
});

test('sizes of memory', () => {
  assert.equal(parseMemory('200m'), 200 * 2 ** 20);
  assert.equal(parseMemory('1.5g'), 1.5 * 2 ** 30);
  assert.equal(parseMemory('8388608'), 8388608);
  assert.equal(parseMemory('10MB'), 10 * 2 ** 20);
  for (const text of ['', 'x', '-1', '1q', '5m', '0x10m'])
    assert.throws(() => parseMemory(text), { code: 'BAD_LIMIT' });
  assert.throws(() => parseResources({ cpus: '0' }), { code: 'BAD_LIMIT' });
  assert.throws(() => parseResources({ pidsLimit: '1.5' }), { code: 'BAD_LIMIT' });
});

test("a user's own group is among the others, once", () => {
  const groups = (additionalGids: number[]): unknown => {
    const user = { uid: 1, gid: 2, additionalGids, home: '/' };
    return generateSpec({ ...OPTIONS, process: { ...OPTIONS.process, user } }).process.user;
  };
  assert.deepEqual(groups([]), { uid: 1, gid: 2, additionalGids: [2] });
  assert.deepEqual(groups([3, 2]), { uid: 1, gid: 2, additionalGids: [2, 3] });
});
