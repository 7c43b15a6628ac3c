import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { identifyProcess, isRunning, makePipe, spawnDetached } from '../../src/system/process.ts';

const MODULE = join(import.meta.dirname, '../../src/system/process.ts');

test('a process is told from a later one with its number, and a zombie does not run', async () => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const found = identifyProcess(child.pid!);
  assert.ok(found !== undefined && isRunning(found));
  assert.ok(!isRunning({ ...found, started: found.started - 1 }));
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(!isRunning(found));
  assert.equal(identifyProcess(2 ** 22 + 1), undefined);
});

test('a name with blanks and parentheses is no obstacle', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'imago-process-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const program = join(directory, 'a) b (c');
  spawnSync('cp', [spawnSync('which', ['sleep'], { encoding: 'utf8' }).stdout.trim(), program]);
  const child = spawn(program, ['1000'], { stdio: 'ignore' });
  await sleep(50);
  const started = identifyProcess(child.pid!)?.started;
  child.kill('SIGKILL');
  assert.ok(started !== undefined && started > 0);
});

test('a detached program has its input, a session of its own, and default signals', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'imago-process-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const out = join(directory, 'out');
  const pipe = makePipe();
  const script =
    'read -r _; { ps -o sid= -p $$; echo $$; grep SigIgn /proc/self/status; echo "$MINE"; } > "$1.tmp"; mv "$1.tmp" "$1"';
  const pid = spawnDetached('/bin/sh', ['sh', '-c', script, 'x', out], ['PATH=/usr/bin:/bin', 'MINE=own'], pipe.read);
  closeSync(pipe.read);
  await sleep(50);
  assert.ok(!existsSync(out), 'it waits for the end of its input');
  closeSync(pipe.write);
  for (let waited = 0; !existsSync(out) && waited < 5000; waited += 10) await sleep(10);
  const [sid, own, ignored, variable] = readFileSync(out, 'utf8')
    .split('\n')
    .map((line) => line.trim());
  assert.deepEqual([sid, own, variable], [String(pid), String(pid), 'own']);
  // SIGPIPE and SIGXFSZ, which Node ignores; glibc's posix_spawn leaves two of its own ignored.
  assert.equal(Number.parseInt(ignored!.split('\t')[1]!.slice(-7), 16) & ((1 << 12) | (1 << 24)), 0);
});

test('a program that cannot be started is an error', () => {
  const pipe = makePipe();
  assert.throws(() => spawnDetached('/no/such', ['x'], [], pipe.read), { code: 'ENOENT', call: 'posix_spawn' });
  closeSync(pipe.read);
  closeSync(pipe.write);
});

test('becoming a program keeps the process ID, and SIGPIPE works in it', () => {
  const script = `import { becomeProgram } from '${MODULE}';
    becomeProgram('/bin/sh', ['sh', '-c', 'echo $$ $X; grep SigIgn /proc/self/status'], { X: '1', PATH: '/usr/bin:/bin' });`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(child.stdout, `${child.pid} 1\nSigIgn:\t0000000000000000\n`);
});
