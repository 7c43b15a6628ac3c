/** Secrets of a build are nowhere on disk: not while it runs, not after it, not after it was killed. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { prune } from '../../src/store/prune.ts';
import { BuildLab, whyNoRun } from '../build/lab.ts';
import { processesWith, startBuild, until } from '../build/running.ts';

const main: string = join(import.meta.dirname, '../../src/cli/main.ts');

/** Files below ROOT and RUN that hold the text, by their raw bytes; names count, too. */
function filesWith({ store, directory }: BuildLab, text: string): string[] {
  const found: string[] = [];
  const walk = (path: string): void => {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    // The pinned namespace cannot be read.
    if (path === join(store.run, 'mnt/ns')) return;
    if (stat?.isDirectory()) {
      for (const name of readdirSync(path)) walk(join(path, name));
    } else if (stat?.isFile() && (path.includes(text) || readFileSync(path).includes(text))) found.push(path);
  };
  for (const place of [store.root, store.run]) walk(place);
  assert.ok(store.root.startsWith(directory) && store.run.startsWith(directory));
  return found;
}

/** A runtime that keeps a copy of config.json among its records, as crun does. */
function copyingRuntime({ directory }: BuildLab): string {
  const path = join(directory, 'copying-runtime');
  const script = [
    '#!/bin/sh',
    'if [ "$1" = --root ] && [ "$7" = run ]; then',
    '  mkdir -p "$2" && cp "$9/config.json" "$2/copy.json" || exit 1',
    `  touch ${join(directory, 'copied')}`,
    'fi',
    'exec runc "$@"',
  ];
  writeFileSync(path, `${script.join('\n')}\n`, { mode: 0o755 });
  return path;
}

const random = (): string => Math.random().toString(36).slice(2, 12);

for (const copying of [false, true]) {
  const missing = spawnSync('runc', ['--version']).status === 0 ? false : 'runc is not installed';
  describe(`secrets of a build${copying ? ', with a runtime that copies config.json' : ''}`, {
    skip: whyNoRun() || missing,
  }, () => {
    for (const end of ['itself', 'SIGKILL', 'SIGINT', 'failure'] as const) {
      it(`are nowhere, neither while a RUN sleeps nor after its end by ${end}`, async () => {
        using lab = new BuildLab();
        await lab.importBase();
        const [inFile, inVariable] = [`file-${random()}`, `variable-${random()}`];
        const file = join(lab.directory, 'secret.txt');
        writeFileSync(file, `begin ${inFile} end\n`);
        const seconds = end === 'itself' ? '1.5' : `77.${process.pid}${Math.floor(Math.random() * 1e6)}`;
        const dockerfile = [
          'FROM base',
          `RUN --mount=type=secret,id=f,target=/etc/token --mount=type=secret,id=v,env=TOKEN \\`,
          `  grep -q begin /etc/token && test -n "$TOKEN" && echo started && ${end === 'failure' ? 'exit 3' : `sleep ${seconds}`}`,
          'RUN ls /etc/token; true',
        ].join('\n');
        const args = ['--secret', `id=f,src=${file}`, '--secret', 'id=v,env=MY_TOKEN'];
        const running = startBuild(lab, dockerfile, ['-t', 'made', ...args], {
          MY_TOKEN: inVariable,
          IMAGO_RUNTIME: copying ? copyingRuntime(lab) : 'runc',
        });
        await until(
          'the step starts',
          () => running.output.includes('started\n') || running.child.exitCode !== null,
          running,
        );
        assert.equal(existsSync(join(lab.directory, 'copied')), copying);
        const secrets = [inFile, inVariable];
        const look = (): string[] => secrets.flatMap((secret) => filesWith(lab, secret));
        assert.deepEqual(look(), []);
        if (end === 'SIGKILL' || end === 'SIGINT') running.child.kill(end);
        await running.ended;
        if (end !== 'failure') await until('its processes end', () => processesWith(seconds).length === 0, running);
        assert.deepEqual(look(), []);
        for (const secret of secrets) assert.ok(!running.output.includes(secret), running.output);
        if (end === 'itself') assert.match(running.output, /No such file/);
        const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
        assert.deepEqual(
          mounts.filter((line) => line.includes(` ${lab.directory}/`) && !line.includes('/run/mnt')),
          [],
        );
        await until(
          'what it left is taken away',
          () => readdirSync(join(lab.store.run, 'steps')).length === 0,
          running,
        );
        const next = await lab.build(dockerfile.replaceAll(seconds, '0').replace('exit 3', 'true'), {
          secrets: { f: { value: 'begin' }, v: { value: 'x' } },
        });
        assert.match(next.output, /started\n/);
        await prune(lab.store, { keepCache: true });
        assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
      });
    }
  });
}

describe('secrets of a build', { skip: whyNoRun() }, () => {
  it('as files: owner, mode, place; no trace of them', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { output, image } = await lab.build(
      [
        'FROM base',
        'RUN --mount=type=secret,id=a cat /run/secrets/a && ls -ln /run/secrets/a | grep -c "^-r-------- .* 0 .* 0 "',
        'RUN --mount=type=secret,required=false,mode=741,uid=100,gid=102,target=/b ls -ln /b | grep -c "^-rwxr----x .* 100 .* 102 "',
        'RUN --mount=type=secret,source=a,target=c/d cat /c/d',
        'RUN --mount=type=secret,id=none,env=E ls /run/secrets/none 2>/dev/null || echo "none: $E."',
        'RUN --mount=type=secret,id=a (echo x > /run/secrets/a) 2>/dev/null || echo refused',
        'RUN [ ! -e /run ] && [ ! -e /b ] && [ ! -e /c ] && echo clean',
      ].join('\n'),
      { secrets: { a: { value: 'A\n' }, b: { value: 'B' } } },
    );
    assert.match(output, /^A\n1\n1\nA\nnone: \.\nrefused\nclean\n$/);
    assert.deepEqual(
      lab.paths(image).filter((path) => /^(run|b|c)(\/|$)/.test(path)),
      [],
    );
  });

  it('as variables: over those of ENV, with and without a file', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const hidden = `hidden-${random()}`;
    const { output, image, done } = await lab.build(
      [
        'FROM base',
        'ENV S=public',
        'RUN --mount=type=secret,id=a,env=S echo "$S"; ls /run/secrets/a 2>/dev/null || echo no file',
        'RUN --mount=type=secret,id=a,target=/run/secrets/x,env=T echo "$S $T" && cat /run/secrets/x',
        'RUN echo "$S $T."',
      ].join('\n'),
      { secrets: { a: { value: `${hidden}\n` } } },
    );
    assert.equal(output, `${hidden}\n\nno file\npublic ${hidden}\n\n${hidden}\npublic .\n`);
    assert.ok(!JSON.stringify(image.config).includes(hidden));
    assert.match(done.find((step) => step.includes('env=S'))!, /echo "\*{4}"/);
    assert.deepEqual(filesWith(lab, hidden), []);
  });

  it('their contents are not in the key, their IDs and targets are', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const run = (mount: string): string => `FROM base\nRUN --mount=type=secret,${mount} echo ran`;
    await lab.build(run('id=a'), { secrets: { a: { value: '1' } } });
    assert.equal((await lab.build(run('id=a'), { secrets: { a: { value: '2' } } })).output, '');
    for (const other of ['id=b', 'id=a,target=/x', 'id=a,env=A', 'id=a,mode=0444']) {
      assert.equal((await lab.build(run(other), { secrets: { a: { value: '1' } } })).output, 'ran\n', other);
    }
  });

  it('from the command line: a file, a variable, neither, and what is wrong', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    writeFileSync(join(lab.directory, 's'), 'in file');
    const build = (args: string[], mount: string): { status: number | null; output: string } => {
      const { status, stderr } = spawnSync(
        process.execPath,
        [main, 'build', '--no-cache', '-f', '-', ...args, lab.context],
        {
          env: { ...process.env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run, VAR: 'in variable' },
          input: `FROM base\nRUN --mount=type=secret,${mount} cat /run/secrets/*`,
          encoding: 'utf8',
        },
      );
      return { status, output: stderr };
    };
    const file = join(lab.directory, 's');
    assert.match(build(['--secret', `id=a,src=${file}`], 'id=a').output, /in file/);
    assert.match(build(['--secret', `type=file,id=a,source=${file}`], 'id=a').output, /in file/);
    assert.match(build(['--secret', 'id=a,env=VAR'], 'id=a').output, /in variable/);
    assert.match(build(['--secret', 'type=env,id=a,src=VAR'], 'id=a').output, /in variable/);
    assert.match(build(['--secret', 'id=VAR'], 'id=VAR').output, /in variable/);
    const wrong: [arg: string, message: RegExp][] = [
      ['id=a,scr=x', /unexpected key 'scr' \(did you mean src\?\)/],
      ['src=x', /it has no id/],
      [`id=a,src=${file}.not`, /cannot read the secret a: ENOENT/],
      ['id=a,type=x', /type=file or type=env/],
    ];
    for (const [arg, message] of wrong) {
      const { status, output } = build(['--secret', arg], 'id=a');
      assert.match(output, message);
      assert.equal(status, 125, output);
    }
  });

  it('that are too long are refused', async () => {
    using lab = new BuildLab();
    await assert.rejects(
      lab.build('FROM scratch', { secrets: { a: { value: 'x'.repeat(500 * 1024 + 1) } } }),
      /secret a is too big/,
    );
  });
});

function whyNoAgent(): string | false {
  const missing = ['ssh-agent', 'ssh-add', 'ssh-keygen', 'ldd'].filter(
    (name) => spawnSync('which', [name]).status !== 0,
  );
  return whyNoRun() || (missing.length > 0 && `${missing.join(', ')} not installed`);
}

describe('SSH agents of a build', { skip: whyNoAgent() }, () => {
  /** ssh-add with its libraries, and a key beside the context. */
  function prepare(lab: BuildLab): string {
    const program = execFileSync('which', ['ssh-add'], { encoding: 'utf8' }).trim();
    const libraries = execFileSync('ldd', [program], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    execFileSync('cp', ['-L', '--parents', program, ...libraries, lab.context]);
    const key = join(lab.directory, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'of-the-test', '-f', key]);
    return key;
  }

  const dockerfile = [
    'FROM base',
    'COPY . /',
    'RUN --mount=type=ssh ls -ln $SSH_AUTH_SOCK && ssh-add -l',
    'RUN --mount=type=ssh,id=default,uid=1000,gid=1001,mode=0640,target=/agent ls -ln /agent; echo $SSH_AUTH_SOCK',
    'USER bob',
    'RUN --mount=type=ssh,uid=1000 ssh-add -l',
    'RUN --mount=type=ssh,id=other echo "$SSH_AUTH_SOCK" && ls /run/buildkit || true',
  ].join('\n');

  it('a key file: an agent for the time of the build, spoken to by any user', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const key = prepare(lab);
    // ssh-add alone would refuse it.
    chmodSync(key, 0o644);
    const { output, image } = await lab.build(dockerfile, { ssh: { default: [key] } });
    assert.match(
      output,
      /^srw------- .* 0 +0 .*\/run\/buildkit\/ssh_agent\.0\n256 SHA256:\S+ of-the-test \(ED25519\)\n/,
    );
    assert.match(output, /srw-r----- .* 1000 +1001 .*\/agent\n\/agent\n256 SHA256:\S+ of-the-test/);
    assert.equal(
      lab.paths(image).some((path) => path.startsWith('run') || path.startsWith('agent')),
      false,
    );
    const secret = readFileSync(key, 'utf8').split('\n')[2]!;
    assert.deepEqual(filesWith(lab, secret), []);
    assert.deepEqual(
      readdirSync(lab.store.run).filter((name) => name.startsWith('ssh-')),
      [],
    );
    assert.ok(processesWith(key).length === 0);
  });

  it('a socket', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const key = prepare(lab);
    const socket = join(lab.directory, 'agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    try {
      const env = { ...process.env, SSH_AUTH_SOCK: socket };
      for (let i = 0; i < 100 && spawnSync('ssh-add', ['-q', key], { env }).status !== 0; i++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const { output } = await lab.build(dockerfile, { ssh: { default: [socket] } });
      assert.equal(output.match(/of-the-test/g)?.length, 2);
    } finally {
      agent.kill();
    }
  });

  it('a key with a passphrase, and a file that is none, are refused in words', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const key = join(lab.directory, 'locked');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'pass phrase', '-f', key]);
    const file = join(lab.directory, 'no-key');
    writeFileSync(file, 'text\n', { mode: 0o600 });
    for (const path of [key, file]) {
      await assert.rejects(
        lab.build('FROM base\nRUN --mount=type=ssh true', { ssh: { default: [path] } }),
        (error: Error) => /^cannot load the keys of default: .*\/(?:locked|no-key)/.test(error.message),
      );
      assert.ok(processesWith(path).length === 0);
    }
    await assert.rejects(lab.build('FROM base', { ssh: { default: ['/no/such'] } }), /no such socket or key/);
  });
});
