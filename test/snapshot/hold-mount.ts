import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../../src/core/digest.ts';
import type { Backend } from '../../src/snapshot/backend.ts';
import { enterPrivateNamespace } from '../../src/snapshot/private-namespace.ts';
import { openSnapshotter } from '../../src/snapshot/snapshotter.ts';
import { Store } from '../../src/store/store.ts';

/** A program for the tests: mounts a root file system as a command does, says so, and waits to be killed. */
const [root, run, backend, place, ...layers] = process.argv.slice(2) as [string, string, Backend, string, ...Digest[]];
const snapshotter = openSnapshotter(Store.open({ root, run }), { backend });
await snapshotter.prepare(layers);
enterPrivateNamespace();
const [target, upper, work] = [join(place, 'root'), join(place, 'upper'), join(place, 'work')];
for (const directory of [target, work]) mkdirSync(directory);
snapshotter.createUpper(upper, layers);
snapshotter.mountRootfs({ diffIds: layers, upper, work, target });
process.stdout.write('mounted\n');
setInterval(() => {}, 60_000);
