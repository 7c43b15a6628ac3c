import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readBuildRunOptions } from '../../src/cli/build-run-options.ts';

describe("build's flags about RUN", () => {
  it('as Docker has them', () => {
    assert.deepEqual(
      readBuildRunOptions({
        secret: ['id=a,src=/f', 'id=b,env=B', '"id=c","src=/x,y"', 'type=env,id=d,src=D', 'id=NO_SUCH_VARIABLE'],
        ssh: ['default', 'k=/k1,/k2', 's=/sock'],
        allow: ['security.insecure', 'network.host'],
        'add-host': ['a:1.2.3.4', 'b=[::1]', 'c:fe80::1', 'd:1.2.3.4,e:host-gateway', ''],
        'shm-size': '1.5m',
        ulimit: ['nofile=10:20', 'core=0', 'nproc=-1'],
        'cgroup-parent': '/x',
        memory: '2g',
        'cpu-shares': '0',
        'cpuset-cpus': '0-1,3',
        resource: ['memory=1g', 'cpu-quota=50000', 'cpu-period = 100000'],
      }),
      {
        secrets: {
          a: { file: '/f' },
          b: { env: 'B' },
          c: { file: '/x,y' },
          d: { env: 'D' },
          NO_SUCH_VARIABLE: { file: 'NO_SUCH_VARIABLE' },
        },
        ssh: { default: [], k: ['/k1', '/k2'], s: ['/sock'] },
        allow: ['security.insecure', 'network.host'],
        runSettings: {
          extraHosts: ['a:1.2.3.4', 'b:::1', 'c:fe80::1', 'd:1.2.3.4', 'e:127.0.0.1'],
          shmSize: 1.5 * 2 ** 20,
          ulimits: [
            { name: 'nofile', soft: 10, hard: 20 },
            { name: 'core', soft: 0, hard: 0 },
            { name: 'nproc', soft: -1, hard: -1 },
          ],
          cgroupParent: '/x',
          resources: {
            memory: 2 ** 30,
            cpuShares: undefined,
            cpusetCpus: '0-1,3',
            cpuQuota: 50_000,
            cpuPeriod: 100_000,
          },
        },
      },
    );
  });

  const wrong: [flag: string, value: string, message: RegExp][] = [
    ['secret', 'id=a,value=geheim', /^(?!.*geheim).*unexpected key 'value'/s],
    ['secret', 'geheim', /^(?!.*geheim).*a field is no key=value pair/s],
    ['ssh', '=/x', /invalid value of --ssh/],
    ['allow', 'all', /security\.insecure or network\.host/],
    ['add-host', 'a', /NAME:ADDRESS/],
    ['add-host', 'a:b', /NAME:ADDRESS/],
    ['resource', 'memory', /KEY=VALUE, KEY one of memory, memory-swap/],
    ['resource', 'memmory=1g', /KEY=VALUE, KEY one of memory, memory-swap/],
    ['resource', 'memory=1m', /at least 6m/],
    ['resource', 'cpu-shares=many', /invalid value of --cpu-shares.*a whole number/s],
    ['resource', 'cpuset-cpus=1-', /numbers and ranges/],
    ['add-host', 'a:999.1.1.1', /NAME:ADDRESS/],
    ['add-host', 'a:[1.2.3.4]', /NAME:ADDRESS/],
    ['add-host', 'a:', /NAME:ADDRESS/],
    ['ulimit', 'files=1', /NAME one of core/],
    ['ulimit', 'nofile=2:1', /not above the hard one/],
    ['ulimit', 'nofile=-1:1', /not above the hard one/],
  ];
  for (const [flag, value, message] of wrong) {
    it(`refuses --${flag} ${value}`, () => {
      assert.throws(
        () => readBuildRunOptions({ [flag]: [value] }),
        (error: Error & { details: { exitCode: number } }) =>
          message.test(error.message) && error.details.exitCode === 125,
      );
    });
  }

  it('--shm-size 0 is the default, as docker has it; less is refused', () => {
    assert.equal(readBuildRunOptions({ 'shm-size': '0' }).runSettings.shmSize, undefined);
    assert.throws(() => readBuildRunOptions({ 'shm-size': '-1' }), /a size/);
  });
});
