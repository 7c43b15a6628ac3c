import assert from 'node:assert/strict';
import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { listCacheMounts, removeCacheMount } from '../../src/build/mounts/cache.ts';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { BuildLab, type Files, whyNoRun } from './lab.ts';

interface MountCase {
  name: string;
  dockerfile: string;
  files?: Files;
  options?: BuildOptions;
  /** Files of a context named `files`; `image` is the base. */
  named?: Files;
  /** What the steps print, all of it. */
  output?: string;
  /** Paths that the steps added to the image, in order of bytes. */
  added?: string[];
}

const FILES: Files = { 'a.txt': 'one', 'd/x': 'x', 'd/sub/y': 'y', 'd/link': '->../a.txt' };

const cases: MountCase[] = [
  {
    name: 'bind: the context, read-only, no trace',
    dockerfile:
      'FROM base\nRUN --mount=target=/ctx/deep cat /ctx/deep/a.txt /ctx/deep/d/sub/y; touch /ctx/deep/z 2>/dev/null || touch /ok',
    output: 'oney',
    added: ['ok'],
  },
  {
    name: 'bind: without a target it is at the working directory',
    dockerfile: 'FROM base\nWORKDIR /w\nRUN --mount=type=bind cat a.txt',
    output: 'one',
    added: ['w'],
  },
  {
    name: 'bind: a relative target, a file',
    dockerfile: 'FROM base\nWORKDIR /w\nRUN --mount=type=bind,source=d/x,target=x.txt cat /w/x.txt && echo',
    output: 'x\n',
    added: ['w'],
  },
  {
    name: 'bind: owners are those of a COPY, modes stay',
    dockerfile: 'FROM base\nRUN --mount=target=/c ls -ln /c/a.txt | grep -c "^-rw-r--r-- .* 0 .* 0 "',
    output: '1\n',
  },
  {
    name: 'bind: .dockerignore counts',
    dockerfile: 'FROM base\nRUN --mount=target=/c ls /c',
    files: { '.dockerignore': 'd\n.dockerignore' },
    output: 'a.txt\n',
  },
  {
    name: 'bind: symlinks in the source are followed within the context',
    dockerfile: 'FROM base\nRUN --mount=source=d/link,target=/l cat /l',
    output: 'one',
  },
  {
    name: 'bind: rw writes are thrown away',
    dockerfile: [
      'FROM base',
      'RUN --mount=source=d,target=/d,rw echo new > /d/x && rm /d/sub/y && touch /d/z && cat /d/x && ls /d',
      'RUN --mount=source=d,target=/d cat /d/x && ls /d /d/sub',
    ].join('\n'),
    output: 'new\nlink\nsub\nx\nz\nx/d:\nlink\nsub\nx\n\n/d/sub:\ny\n',
    added: [],
  },
  {
    name: 'bind: a stage, by name and by number',
    dockerfile: [
      'FROM base AS one',
      'RUN mkdir -p /out/p && echo made > /out/p/f',
      'FROM base',
      'RUN --mount=from=ONE,source=/out,target=/in cat /in/p/f',
      'RUN --mount=from=0,source=out/p/f,target=/f cat /f; ls /f > /kept',
    ].join('\n'),
    output: 'made\nmade\n',
    added: ['kept'],
  },
  {
    name: 'bind: an image, all of it',
    dockerfile: 'FROM base\nRUN --mount=from=base,target=/img /img/bin/echo hi && ls /img/etc',
    output: 'hi\ngroup\npasswd\n',
    added: [],
  },
  {
    name: 'bind: rw over a stage leaves the stage as it is',
    dockerfile: [
      'FROM base AS one',
      'RUN mkdir /out && echo a > /out/f',
      'FROM base',
      'RUN --mount=from=one,source=/out,target=/out,rw echo b > /out/f',
      'RUN --mount=from=one,source=/out,target=/out cat /out/f',
    ].join('\n'),
    output: 'a\n',
  },
  {
    name: 'bind: a directory that is there keeps what it has',
    dockerfile: 'FROM base\nRUN mkdir /here && echo kept > /here/k\nRUN --mount=target=/here ls /here\nRUN cat /here/k',
    output: 'a.txt\nd\nkept\n',
  },
  {
    name: 'bind: of two mounts at one place the later one is there',
    dockerfile: 'FROM base\nRUN --mount=target=/c --mount=source=d,target=/c/ ls /c',
    output: 'link\nsub\nx\n',
  },
  {
    name: 'bind: one mount in another',
    dockerfile: 'FROM base\nRUN --mount=source=a.txt,target=/c/sub/y --mount=source=d,target=/c cat /c/sub/y /c/x',
    output: 'onex',
  },
  {
    name: 'bind and cache: named contexts',
    dockerfile: [
      'FROM base',
      'RUN --mount=from=files,source=n,target=/n cat /n',
      'RUN --mount=type=cache,from=files,target=/c cat /c/n',
      'RUN --mount=from=image,target=/i ls /i/etc',
    ].join('\n'),
    named: { n: 'named\n' },
    output: 'named\nnamed\ngroup\npasswd\n',
    added: [],
  },
  {
    name: 'tmpfs: written and gone',
    dockerfile:
      'FROM base\nRUN --mount=type=tmpfs,target=/t touch /t/f && ls /t && ls -ld /t | grep -c ^drwxrwxrwt\nRUN ls -d /t 2>/dev/null || echo gone',
    output: 'f\n1\ngone\n',
    added: [],
  },
  {
    name: 'tmpfs: its size, over the default /dev/shm',
    dockerfile: 'FROM base\nRUN --mount=type=tmpfs,target=/dev/shm,size=128m grep /dev/shm /proc/self/mounts > /m',
    output: '',
    added: ['m'],
  },
  {
    name: 'cache: kept from step to step under its ID',
    dockerfile: [
      'FROM base',
      'RUN --mount=type=cache,target=/c touch /c/f',
      'RUN --mount=type=cache,target=/c2 ls /c2; touch /c2/g',
      'RUN --mount=type=cache,target=/c ls /c',
      'RUN --mount=type=cache,id=/c,target=/other ls /other',
    ].join('\n'),
    output: 'f\nf\n',
    added: [],
  },
  {
    name: 'cache: owner and mode of a new one',
    dockerfile:
      'FROM base\nRUN --mount=type=cache,target=/c,uid=1001,gid=1002,mode=0751 ls -lnd /c | grep -c "^drwxr-x--x .* 1001 .* 1002 "',
    output: '1\n',
  },
  {
    name: 'cache: read-only',
    dockerfile: 'FROM base\nRUN --mount=type=cache,target=/c,ro touch /c/f 2>/dev/null || echo refused',
    output: 'refused\n',
  },
  {
    name: 'cache: starts with what a stage has',
    dockerfile: [
      'FROM base AS one',
      'RUN mkdir /out && echo a > /out/f',
      'FROM base',
      'RUN --mount=type=cache,from=one,source=/out,target=/c cat /c/f && echo b > /c/f',
      'RUN --mount=type=cache,from=one,source=/out,target=/c cat /c/f',
      'RUN --mount=from=one,source=/out,target=/c cat /c/f',
    ].join('\n'),
    output: 'a\nb\na\n',
  },
  {
    name: 'cache: a part of it',
    dockerfile: [
      'FROM base',
      'RUN --mount=type=cache,id=i,target=/c mkdir /c/sel && echo s > /c/sel/f',
      'RUN --mount=type=cache,id=i,source=sel,target=/c cat /c/f',
    ].join('\n'),
    output: 's\n',
  },
  {
    name: 'variables in values',
    dockerfile: [
      'ARG meta=/tmp/meta',
      'FROM base',
      'ARG meta',
      'ARG kind=cache',
      'ENV place=/p',
      'RUN --mount=type=$kind,id=$place-x,target=$place touch $place/f',
      'RUN --mount=type=cache,id=/p-x,target=$meta ls /tmp/meta',
    ].join('\n'),
    output: 'f\n',
  },
  {
    name: '--network=none has no way out',
    dockerfile: 'FROM base\nRUN --network=none cat /proc/net/route | grep -c . ; ls /sys/class/net',
    output: '1\nlo\n',
  },
  {
    name: '--security=insecure where it is allowed',
    dockerfile: 'FROM base\nRUN --security=insecure grep Seccomp: /proc/self/status && ls /dev/fuse',
    options: { allow: ['security.insecure'] },
    output: 'Seccomp:\t0\n/dev/fuse\n',
    added: [],
  },
  {
    name: 'hosts, shared memory and limits of the builder',
    dockerfile: 'FROM base\nRUN grep my.host /etc/hosts && grep -c "/dev/shm.*size=32768k" /proc/mounts && ulimit -n',
    options: {
      runSettings: {
        extraHosts: ['my.host:10.1.2.3', 'my.host6:::1'],
        shmSize: 32 << 20,
        ulimits: [{ name: 'nofile', soft: 99, hard: 100 }],
      },
    },
    output: '10.1.2.3\tmy.host\n::1\tmy.host6\n1\n99\n',
    added: [],
  },
  {
    name: 'a limit that is none',
    dockerfile: 'FROM base\nRUN ulimit -c; ulimit -Hc',
    options: { runSettings: { ulimits: [{ name: 'core', soft: 1536, hard: -1 }] } },
    output: '3\nunlimited\n',
    added: [],
  },
];

describe('RUN --mount', { skip: whyNoRun() }, () => {
  for (const { name, dockerfile, files, named, options, output, added } of cases) {
    it(name, async () => {
      using lab = new BuildLab();
      await lab.importBase();
      lab.write({ ...FILES, ...files });
      chmodSync(join(lab.context, 'a.txt'), 0o644);
      const before = new Set(lab.paths((await lab.build('FROM base')).image));
      const place = join(lab.directory, 'named');
      if (named !== undefined) lab.write(named, place);
      const contexts: Record<string, string> =
        named === undefined ? {} : { files: place, image: 'docker-image://base' };
      const { image, output: said } = await lab.build(dockerfile, { contexts, ...options });
      if (output !== undefined) assert.equal(said, output);
      if (added !== undefined) {
        assert.deepEqual(
          lab.paths(image).filter((path) => !before.has(path)),
          added,
        );
      }
      assert.deepEqual(readdirSync(join(lab.store.run, 'steps')), []);
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    });
  }

  const wrong: [name: string, run: string, message: RegExp][] = [
    ['an unknown flag', 'RUN --mont=target=/t true', /unknown flag: --mont \(did you mean mount\?\)/],
    ['an unknown key', 'RUN --mount=typ=tmpfs true', /unexpected key 'typ' in 'typ=tmpfs' \(did you mean type\?\)/],
    ['an unknown type', 'RUN --mount=type=tmp true', /unsupported mount type "tmp" \(did you mean tmpfs\?\)/],
    ['a variable in from', 'ARG s\nRUN --mount=from=$s,target=/t true', /'from' doesn't support variable expansion/],
    ['the root as target', 'RUN --mount=target=/ true', /invalid mount target "\/"/],
    ['a source that is not there', 'RUN --mount=source=no,target=/t true', /not found in the build context/],
    ['a stage below', 'RUN --mount=from=later,target=/t true\nFROM base AS later', /needs to be defined before/],
    ['a missing part of a cache', 'RUN --mount=type=cache,source=no,target=/t true', /"\/no" is not there/],
    ['an unknown network', 'RUN --network=hots true', /invalid network mode "hots" \(did you mean host\?\)/],
    ['an unknown security', 'RUN --security=insec true', /security "insec" is not valid/],
    ['rights that are not allowed', 'RUN --security=insecure true', /security\.insecure is not allowed/],
    ['a missing secret', 'RUN --mount=type=secret,id=s,required true', /secret s: not found/],
    ['a missing secret for a variable', 'RUN --mount=type=secret,id=s,env=E,required=1 true', /secret s: not found/],
    ['a missing agent', 'RUN --mount=type=ssh,required true', /unset ssh forward key default/],
  ];
  for (const [name, run, message] of wrong) {
    it(`says what is wrong with ${name}`, async () => {
      using lab = new BuildLab();
      await lab.importBase();
      await assert.rejects(lab.build(`FROM base\n${run}\n`), (error: Error & { line?: number }) => {
        assert.match(error.message, message);
        assert.equal(error.line, run.startsWith('ARG') ? 3 : 2);
        return true;
      });
    });
  }

  it('a source of a cache cannot lead out of it', async () => {
    using lab = new BuildLab();
    await lab.importBase({ 'etc/hostname': '' });
    await lab.build('FROM base\nRUN --mount=type=cache,id=i,target=/c ln -s /etc /c/sel');
    await assert.rejects(lab.build('FROM base\nRUN --mount=type=cache,id=i,source=sel,target=/v cat /v/hostname'), {
      message: /"\/sel" is not there/,
    });
  });

  it('cache mounts are told, and removed where nobody uses them', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    await lab.build('FROM base\nRUN --mount=type=cache,id=big,target=/c cat /bin/busybox > /c/f');
    await lab.build('FROM base\nRUN --mount=type=cache,id=small,target=/c true');
    const [big, small] = await listCacheMounts(lab.store);
    assert.deepEqual([big?.id, small?.id, big?.inUse], ['big', 'small', false]);
    assert.ok(big!.size > statSync('/bin/busybox').size && small!.size < 65536);
    assert.equal(removeCacheMount(lab.store, big!.name), true);
    assert.equal(removeCacheMount(lab.store, big!.name), false);
    assert.deepEqual(
      (await listCacheMounts(lab.store)).map(({ id }) => id),
      ['small'],
    );
    assert.equal((await lab.build('FROM base\nRUN --mount=type=cache,id=big,target=/c ls /c')).output, '');
  });
});
