import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runStep } from '../../src/container/step.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { Lab, skipContainers } from './lab.ts';

const NAMES = ['dev', 'proc', 'sys'] as const;
const SCRIPT = 'ls -d /dev/null /proc/1 /sys/kernel';
const FOUND = '/dev/null\n/proc/1\n/sys/kernel\n';

/** Older runtimes make links in /dev before they change the root: through a link there, on the host. */
describe('images whose /dev, /proc and /sys lead elsewhere', { skip: skipContainers() ?? false }, () => {
  let lab: Lab;
  before(() => {
    lab = new Lab();
  });
  after(() => lab[Symbol.dispose]());

  const cases: [name: string, make: (path: string, host: string, name: string) => void][] = [
    ['an absolute link to a directory of the host', (path, host) => symlinkSync(host, path)],
    ['a link out of the root', (path, host) => symlinkSync(`${'../'.repeat(30)}${host}`, path)],
    ['a link to itself', (path, _, name) => symlinkSync(name, path)],
    ['a file', (path) => writeFileSync(path, 'x')],
  ];
  for (const [index, [what, make]] of cases.entries()) {
    test(`${what}: a container and a step have their own, and the host is as it was`, async () => {
      const host = join(lab.directory, `host-${index}`);
      mkdirSync(host);
      writeFileSync(join(host, 'ptmx'), 'mine');
      const image = `hostile-${index}`;
      await lab.image(image, {}, (root) => {
        for (const name of NAMES) {
          rmSync(join(root, name), { recursive: true });
          make(join(root, name), host, name);
        }
      });
      const ran = lab.imago(['run', '--rm', image, 'sh', '-c', SCRIPT]);
      assert.deepEqual([ran.stdout, ran.status], [FOUND, 0], ran.stderr);
      const place = join(lab.directory, `step-${index}`);
      mkdirSync(place);
      let out = '';
      const status = await runStep(lab.store, {
        diffIds: resolveImage(lab.store, image).diffIds,
        upper: join(place, 'upper'),
        work: join(place, 'work'),
        args: ['sh', '-c', SCRIPT],
        env: [],
        cwd: '/',
        user: '',
        stdout: (chunk) => {
          out += chunk;
        },
        stderr: 'inherit',
      });
      assert.deepEqual([out, status], [FOUND, 0]);
      assert.deepEqual(readdirSync(join(place, 'upper')), []);
      assert.deepEqual(readdirSync(host), ['ptmx']);
    });
  }
});
