import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { findRuntime, lastMessage } from '../../src/runtime/find-runtime.ts';

/** A RUN directory, and programs of these names alone: the last lines of what they print. */
function place(t: TestContext, programs: Record<string, string>): { run: string; bin: string } {
  const directory = mkdtempSync(join(tmpdir(), 'imago-runtime-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const [run, bin] = [join(directory, 'run'), join(directory, 'bin')];
  mkdirSync(run);
  mkdirSync(bin);
  for (const [name, message] of Object.entries(programs)) {
    const path = join(bin, name);
    writeFileSync(path, `#!/bin/sh\necho '${message}' >&2\nexit 1\n`);
    chmodSync(path, 0o755);
  }
  setVariable(t, 'PATH', bin);
  return { run, bin };
}

function setVariable(t: TestContext, name: string, value: string): void {
  const before = process.env[name];
  process.env[name] = value;
  t.after(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
}

const WORKS = 'exec: "/imago-probe": stat /imago-probe: no such file or directory';
const REFUSES = 'cgroups in hybrid mode not supported, drop all controllers from cgroupv2';
const everywhere = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const installed = everywhere.some((directory) => {
  try {
    return readdirSync(directory).some((name) => name === 'runc' || name === 'crun');
  } catch {
    return false;
  }
});

test('a runtime that refuses this machine is passed over, and the choice is kept', async (t) => {
  const { run, bin } = place(t, { runc: REFUSES, crun: WORKS });
  assert.deepEqual(await findRuntime(run), { name: 'crun', path: join(bin, 'crun') });
  writeFileSync(join(bin, 'crun'), '#!/bin/sh\nexit 99\n');
  assert.equal((await findRuntime(run)).name, 'crun');
  assert.deepEqual(readdirSync(run), ['runtime.json']);
});

test('a choice of another boot counts for nothing', async (t) => {
  const { run } = place(t, { runc: WORKS });
  writeFileSync(join(run, 'runtime.json'), JSON.stringify({ name: 'old', path: '/bin/sh', boot: 'before' }));
  assert.equal((await findRuntime(run)).name, 'runc');
});

test('where none works, the reasons are told', async (t) => {
  const { run } = place(t, { runc: REFUSES, crun: 'no luck' });
  await assert.rejects(findRuntime(run), /no container runtime works here.*runc: cgroups in hybrid.*crun: no luck/);
});

test('IMAGO_RUNTIME names one by name or path', async (t) => {
  const { run, bin } = place(t, { youki: 'x' });
  setVariable(t, 'IMAGO_RUNTIME', 'youki');
  assert.deepEqual(await findRuntime(run), { name: 'youki', path: join(bin, 'youki') });
  setVariable(t, 'IMAGO_RUNTIME', join(bin, 'nothing'));
  await assert.rejects(findRuntime(run), { code: 'NO_RUNTIME' });
});

test('without any, the package is named', { skip: installed ? 'runc or crun is installed here' : false }, async (t) => {
  const { run } = place(t, {});
  await assert.rejects(findRuntime(run), /runc not found: install it with 'apt-get install runc'/);
});

test("a runtime's message without its frame", () => {
  const text = 'time="2026-01-01" level=error msg="runc run failed: exec: \\"x\\": not found"\n';
  assert.equal(lastMessage(text), 'runc run failed: exec: "x": not found');
  assert.equal(lastMessage('plain\n'), 'plain');
});
