import assert from 'node:assert/strict';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { ImagoError } from '../../src/core/errors.ts';
import { checkExecutable, commandLine, environment, mergeVariables, parseEnvFile } from '../../src/runtime/command.ts';
import type { SpecMount } from '../../src/runtime/spec-types.ts';

test('the entrypoint comes before the command', () => {
  assert.deepEqual(commandLine({ Entrypoint: ['/init', '-x'], Cmd: ['a', 'b'] }), ['/init', '-x', 'a', 'b']);
  assert.deepEqual(commandLine({ Entrypoint: null, Cmd: ['sh'] }), ['sh']);
  assert.throws(() => commandLine({ Entrypoint: [], Cmd: null }), /no command specified/);
});

test('variables keep their first place and take their last value', () => {
  assert.deepEqual(mergeVariables(['A=1', 'B=2'], ['A=3', 'C=', 'D=x=y'], {}), ['A=3', 'B=2', 'C=', 'D=x=y']);
});

test("a name without '=' takes the caller's value, or takes the variable away", () => {
  assert.deepEqual(mergeVariables(['A=1', 'B=2'], ['A', 'HERE'], { HERE: 'yes' }), ['B=2', 'HERE=yes']);
});

test('the environment begins with PATH, HOSTNAME and TERM', () => {
  assert.deepEqual(environment(['X=1', 'TERM=dumb'], { hostname: 'box', terminal: true }), [
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOSTNAME=box',
    'TERM=dumb',
    'X=1',
  ]);
  assert.deepEqual(environment(['PATH=/mine'], {}), ['PATH=/mine']);
});

test('an env file has comments, blank lines, and values as they are', () => {
  const text = '\uFEFF# comment\n\nA=1\r\n  B="quoted" # kept\nC\nD=a=b\n';
  assert.deepEqual(parseEnvFile(text, 'f'), ['A=1', 'B="quoted" # kept', 'C', 'D=a=b']);
  assert.throws(() => parseEnvFile('A=1\nnot a name=2\n', 'my.env'), /my\.env, line 2: not a variable/);
  assert.throws(() => parseEnvFile('=x\n', 'f'), { code: 'BAD_ENV_FILE' });
});

test('a command is looked up in the root file system, and nowhere else', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'imago-command-'));
  t.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'bin'));
  mkdirSync(join(directory, 'work'));
  writeFileSync(join(directory, 'bin/tool'), '#!/bin/sh\n');
  chmodSync(join(directory, 'bin/tool'), 0o755);
  writeFileSync(join(directory, 'bin/data'), '');
  chmodSync(join(directory, 'bin/data'), 0o644);
  symlinkSync('/bin/tool', join(directory, 'work/absolute'));
  symlinkSync('../../../../bin/tool', join(directory, 'work/climbing'));
  symlinkSync('/mnt/inside', join(directory, 'work/into-mount'));
  symlinkSync('loop', join(directory, 'work/loop'));
  const root = openSync(directory, 'r');
  t.after(() => closeSync(root));
  const status = (command: string, mounts: SpecMount[] = []): number => {
    try {
      checkExecutable(command, { root, cwd: '/work', env: ['PATH=/sbin:/bin'], mounts });
      return 0;
    } catch (error) {
      return error instanceof ImagoError ? (error.details.exitCode ?? 1) : 1;
    }
  };
  const table: [command: string, status: number][] = [
    ['tool', 0],
    ['/bin/tool', 0],
    ['../bin/tool', 0],
    ['./absolute', 0],
    ['./climbing', 0],
    ['/bin/../../../bin/tool', 0],
    ['data', 127],
    ['/bin/data', 126],
    ['/bin', 126],
    ['./loop', 127],
    ['./into-mount', 127],
    ['sh', 127],
    ['/bin/sh', 127],
    ['/mnt/inside', 127],
  ];
  for (const [command, expected] of table) assert.equal(status(command), expected, command);
  // What a mount brings only the runtime can see.
  const mounts: SpecMount[] = [{ destination: '/mnt' }];
  for (const command of ['/mnt/inside', './into-mount']) assert.equal(status(command, mounts), 0, command);
  for (const command of ['/bin/sh', 'sh']) assert.equal(status(command, mounts), 127, command);
});
