import type { BuildkitCase } from './cases.ts';

/** Mounts, networks, privileges of RUN. On `base`, a static busybox with the users root (0) and bob (1000:1001). */
export const runMountCases: BuildkitCase[] = [
  {
    test: 'testOnBuildWithCacheMount',
    bases: { parent: 'FROM base\nONBUILD RUN --mount=type=cache,target=/c echo -n x >/c/f && cat /c/f >/out' },
    dockerfile: 'FROM parent',
    want: { out: 'x', 'c/f': undefined },
  },
  {
    test: 'testMountContext',
    files: { file: 'x' },
    dockerfile: 'FROM base\nRUN --mount=target=/in test "$(cat /in/file)" = x',
    want: { 'in/file': undefined },
  },
  {
    test: 'testMountTmpfs',
    dockerfile: 'FROM base\nRUN --mount=target=/t,type=tmpfs touch /t/f\nRUN test ! -f /t/f',
  },
  {
    test: 'testMountTmpfsSize',
    dockerfile:
      'FROM base\nRUN --mount=type=tmpfs,target=/t,size=64m mount | grep " /t " | grep -o "size=[0-9]*k" >/out',
    want: { out: 'size=65536k\n' },
  },
  {
    test: 'testCacheMountUser',
    dockerfile: 'FROM base\nRUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0751 stat -c "%u %g %a" /c >/out',
    want: { out: '7 8 751\n' },
  },
  {
    test: 'testCacheMountDefaultID',
    dockerfile: [
      'FROM base',
      'RUN --mount=type=cache,target=/c1 touch /c1/f',
      'RUN --mount=type=cache,target=/c2 test ! -f /c2/f',
      'RUN --mount=type=cache,target=/c1 test -f /c1/f',
    ].join('\n'),
  },
  {
    test: 'testMountEnvVar',
    dockerfile:
      'FROM base\nENV P=/c\nRUN --mount=type=cache,target=/c touch /c/f\nRUN --mount=type=cache,target=$P test -f $P/f',
  },
  {
    test: 'testMountArg',
    dockerfile:
      'FROM base\nARG T=cache\nRUN --mount=type=$T,target=/c touch /c/f\nRUN --mount=type=cache,target=/c test -f /c/f',
  },
  {
    test: 'testMountEnvAcrossStages',
    dockerfile: [
      'FROM base AS s',
      'ENV ID=it T=cache',
      'RUN --mount=type=cache,id=it,target=/a touch /a/f',
      'RUN --mount=type=$T,id=$ID,target=/b test -f /b/f',
      'FROM s',
      'RUN --mount=type=$T,id=$ID,target=/c test -f /c/f',
    ].join('\n'),
  },
  {
    test: 'testMountMetaArg',
    dockerfile: [
      'ARG P=/c',
      'FROM base',
      'ARG P',
      'RUN --mount=type=cache,id=it,target=/c touch /c/f',
      'RUN --mount=type=cache,id=it,target=$P test -f /c/f',
    ].join('\n'),
  },
  {
    test: 'testMountRWCache',
    dockerfile: [
      'FROM base AS s',
      'RUN mkdir out && echo x >out/f',
      'FROM base',
      'RUN --mount=from=s,src=out,target=/out,rw touch /out/g && ls /out >/list',
      'RUN --mount=from=s,src=out,target=/out,rw ls /out >/again',
    ].join('\n'),
    want: { list: 'f\ng\n', again: 'f\n' },
  },
  {
    test: 'testMountDuplicate',
    files: { a: '1', b: '2' },
    dockerfile: 'FROM base\nRUN --mount=source=.,target=/m/d --mount=source=b,target=/m/b cat /m/d/a /m/b >/out',
    want: { out: '12' },
  },
  {
    test: 'testCacheMountParallel',
    dockerfile: [
      ...[1, 2].flatMap((i) => [
        `FROM base AS s${i}`,
        `RUN --mount=type=cache,target=/a/b --mount=type=cache,target=/a/b/c echo ${i} >/out`,
      ]),
      'FROM scratch',
      'COPY --from=s1 /out 1',
      'COPY --from=s2 /out 2',
    ].join('\n'),
    want: { 1: '1\n', 2: '2\n' },
  },
  {
    test: 'testCacheMountSourceEscape',
    dockerfile: [
      'FROM base AS one',
      'RUN --mount=type=cache,id=esc,target=/c mkdir -p /c/d && echo x >/c/d/f',
      'FROM one AS two',
      'RUN --mount=type=cache,id=esc,target=/c rm -rf /c/d && ln -s /etc /c/d',
      'FROM two',
      'RUN --mount=type=cache,id=esc,source=d,target=/v cat /v/hostname',
    ].join('\n'),
    error: /./,
  },
  {
    test: 'testSecretFileParams',
    dockerfile:
      'FROM base\nRUN --mount=type=secret,required=false,mode=741,uid=7,gid=8,target=/s,id=s stat -c "%u %g %a" /s >/out && cat /s | wc -c >>/out',
    options: { secrets: { s: { value: Buffer.from('hush') } } as never },
    want: { out: '7 8 741\n4\n' },
  },
  {
    test: 'testSecretRequiredWithoutValue',
    dockerfile: 'FROM base\nRUN --mount=type=secret,required,id=gone test -f /run/secrets/gone',
    error: /gone/,
  },
  {
    test: 'testSecretAsEnviron',
    dockerfile:
      'FROM base\nRUN --mount=type=secret,id=s,env=S test "$S" = hush && test ! -e /run/secrets/s\nRUN test -z "$S"',
    options: { secrets: { s: { value: Buffer.from('hush') } } as never },
  },
  {
    test: 'testSecretAsEnvironWithFileMount',
    dockerfile: 'FROM base\nRUN --mount=type=secret,id=s,target=/f,env=S test "$S" = hush && test "$(cat /f)" = hush',
    options: { secrets: { s: { value: Buffer.from('hush') } } as never },
  },
  {
    test: 'testRunDefaultNetwork',
    dockerfile: 'FROM base\nRUN grep -c : /proc/net/dev >/out',
    options: { network: 'none' },
    want: { out: '1\n' },
  },
  {
    test: 'testRunNoNetwork',
    dockerfile: 'FROM base\nRUN --network=none grep -c : /proc/net/dev >/out',
    want: { out: '1\n' },
  },
  {
    test: 'testRunHostNetwork',
    about: 'allowed',
    dockerfile: 'FROM base\nRUN --network=host true',
    options: { network: 'none', allow: ['network.host'] },
  },
  {
    test: 'testRunHostNetwork',
    about: 'refused unless allowed',
    dockerfile: 'FROM base\nRUN --network=host true',
    error: /network\.host is not allowed/,
  },
  {
    test: 'testRunHostNetwork',
    about: 'allowed where all have it',
    dockerfile: 'FROM base\nRUN --network=host true',
    options: { network: 'host' },
  },
  {
    test: 'testRunSecurityInsecure',
    about: 'refused unless allowed',
    dockerfile: 'FROM base\nRUN --security=insecure true',
    error: /insecure/,
  },
  {
    test: 'testRunSecurityInsecure',
    about: 'allowed',
    dockerfile: 'FROM base\nRUN --security=insecure mount -t tmpfs t /tmp',
    options: { allow: ['security.insecure'] },
  },
  { test: 'testRunSecuritySandbox', dockerfile: 'FROM base\nRUN --security=sandbox ! mount -t tmpfs t /tmp' },
  {
    test: 'testRunSecurityDefault',
    dockerfile: 'FROM base\nRUN ! mount -t tmpfs t /tmp',
    options: { allow: ['security.insecure'] },
  },
  {
    test: 'testShmSize',
    dockerfile: 'FROM base\nRUN mount | grep " /dev/shm " | grep -o "size=[0-9]*k" >/out',
    options: { runSettings: { shmSize: 128 << 20 } },
    want: { out: 'size=131072k\n' },
  },
  {
    test: 'testUlimit',
    dockerfile: 'FROM base\nRUN ulimit -n >/out',
    options: { runSettings: { ulimits: [{ name: 'nofile', soft: 1062, hard: 1062 }] } },
    want: { out: '1062\n' },
  },
];
