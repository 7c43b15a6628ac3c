import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { completeWords, type NameSource } from '../../src/cli/completion.ts';
import { COMPLETION_SCRIPTS } from '../../src/cli/completion-scripts.ts';
import { registry } from '../../src/cli/registry.ts';

const names: NameSource = {
  images: () => ['debian:bookworm', 'debian:trixie', 'localhost:5000/app'],
  containers: () => ['web', 'worker'],
};

async function offered(...words: string[]): Promise<string[] | 'files'> {
  const candidates = await completeWords(words, names);
  return 'files' in candidates ? 'files' : candidates.words.map(([word]) => word);
}

describe('what is offered', () => {
  test('commands, but not hidden ones', async () => {
    const words = await offered('');
    assert.ok(words.includes('version') && words.includes('help'));
    assert.ok(!words.includes('__complete'));
    assert.deepEqual(await offered('versi'), ['version']);
    assert.deepEqual(await offered('help', 'versi'), ['version']);
  });
  test('global flags, and the command after them', async () => {
    assert.deepEqual(await offered('--d'), ['--debug']);
    assert.equal(await offered('--root', ''), 'files');
    assert.deepEqual(await offered('--root', '/x', '-D', 'versi'), ['version']);
  });
  test('flags of a command', async () => {
    assert.deepEqual(await offered('version', '--f'), ['--format']);
    assert.deepEqual(await offered('version', ''), []);
  });
  test('commands of a group', async () => {
    assert.deepEqual(await offered('manifest', ''), ['annotate', 'create', 'inspect', 'push', 'rm']);
    assert.deepEqual(await offered('artifact', 'pus'), ['push']);
    assert.equal(await offered('artifact', 'push', 'host/name', ''), 'files');
    assert.deepEqual(await offered('artifact', 'push', '--subject', 'loc'), ['localhost:5000/app']);
  });
  test('fixed words', async () => {
    assert.deepEqual(await offered('completion', ''), ['bash', 'zsh', 'fish']);
    assert.deepEqual(await offered('completion', 'bash', ''), []);
  });
  test('images and containers, by what each command says it takes', async () => {
    for (const [name, entry] of Object.entries(registry)) {
      const { command } = await entry.load();
      const words = await offered(...name.split(' '), '');
      if (command.complete === 'image') assert.deepEqual(words, names.images(), name);
      if (command.complete === 'container') assert.deepEqual(words, names.containers(), name);
    }
  });
});

/** A stand-in that offers image names the way the command does, so that the shell's own part is what is tested. */
const STUB = `#!/bin/sh
shift 2
for last; do :; done
printf '%s\\n' "$*" >>"$0.log"
for word in debian:bookworm debian:trixie other --name=; do
  case $word in "$last"*) printf '%s\\tabout it\\n' "$word" ;; esac
done
case $last in /*) echo :files ;; esac
`;

describe('in a shell', () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'imago-completion-'));
    mkdirSync(join(dir, 'files'));
    writeFileSync(join(dir, 'files', 'one'), '');
    writeFileSync(join(dir, 'imago'), STUB);
    chmodSync(join(dir, 'imago'), 0o755);
    for (const [shell, script] of Object.entries(COMPLETION_SCRIPTS)) writeFileSync(join(dir, shell), script);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  function missing(shell: string): string | false {
    return spawnSync(shell, ['-c', 'true']).status === 0 ? false : `${shell} is not installed`;
  }
  function env(): NodeJS.ProcessEnv {
    return { ...process.env, PATH: `${dir}:${process.env.PATH}`, HOME: dir };
  }
  function bash(line: string[]): string[] {
    const script = `source ${dir}/bash; COMP_WORDS=(imago "$@"); COMP_CWORD=$#; _imago; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', script, 'bash', ...line], { env: env(), encoding: 'utf8' })
      .split('\n')
      .slice(0, -1);
  }

  test('bash: whole words', () => {
    assert.deepEqual(bash(['run', 'o']), ['other']);
  });
  test('bash: a name with a colon, which readline broke in three', () => {
    assert.deepEqual(bash(['run', 'debian', ':', 'b']), ['bookworm']);
    assert.deepEqual(bash(['run', 'debian', ':']), ['bookworm', 'trixie']);
  });
  test('bash: files', () => {
    assert.deepEqual(bash(['load', `${dir}/files/`]), [`${dir}/files/one`]);
  });
  test('bash: nothing fits', () => {
    assert.deepEqual(bash(['run', 'nosuch']), ['']);
  });

  test('fish', { skip: missing('fish') }, () => {
    const script = `source ${dir}/fish; complete -C 'imago run debian:b'`;
    const out = execFileSync('fish', ['-c', script], { env: env(), encoding: 'utf8' });
    assert.equal(out, 'debian:bookworm\tabout it\n');
  });

  test('zsh', { skip: missing('zsh') }, () => {
    // _describe and _files belong to an interactive shell; here they tell what they were given.
    const script = `
      compdef() { : }
      _describe() { print -rl -- "\${(@P)2}" }
      _files() { print files }
      source ${dir}/zsh
      words=(imago run 'debian:b'); CURRENT=3; _imago
      words=(imago load '/x'); _imago`;
    const out = execFileSync('zsh', ['-f', '-c', script], { env: env(), encoding: 'utf8' });
    assert.equal(out, 'debian\\:bookworm:about it\nfiles\n');
  });
});
