/**
 * `npm run demo`: the main job on real software, each claim checked (exit status 1 where one does not hold).
 * Its store is its own: IMAGO_DEMO_DIR, or imago-demo in $XDG_CACHE_HOME. The base image and the build cache are kept
 * for the next run; nothing stays mounted or running.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { formatSize } from '../src/core/sizes.ts';
import { listContainers } from '../src/engine/ps.ts';
import { listImages } from '../src/image/list.ts';
import { resolveImage } from '../src/image/resolve.ts';
import { imageSizes } from '../src/image/sizes.ts';
import { dropPin } from '../src/snapshot/pin.ts';
import { Store } from '../src/store/store.ts';
import { tryToWrite } from './demo/read-only.ts';
import { DemoFailure, freePort, Shell } from './demo/shell.ts';

const directory: string =
  process.env.IMAGO_DEMO_DIR ?? join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'imago-demo');
const root: string = join(directory, 'store');
const run = '/run/imago-demo';
const shell: Shell = new Shell({ IMAGO_ROOT: root, IMAGO_RUN: run });
const started: number = performance.now();

interface Summary {
  base: number;
  buildA: number;
  buildB: number;
  start: number;
  verify: number;
  cached: number;
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new DemoFailure("mounting needs root: run 'sudo npm run demo'");
  }
  mkdirSync(root, { recursive: true });
  mkdirSync(run, { recursive: true });
  const names: string[] = [];
  const summary: Summary = { base: 0, buildA: 0, buildB: 0, start: 0, verify: 0, cached: 0 };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => shell.stop());
  // Whoever read this has gone.
  process.stdout.on('error', () => shell.stop());
  try {
    await removeLeftovers();
    await importBase(summary);
    await buildApps(summary);
    await showSharing();
    await runSessions(summary, names);
    await verifyAll(summary);
    await showSummary(summary);
  } finally {
    if (names.length > 0)
      await shell.run(`imago rm -f ${names.join(' ')}`, { show: false, check: false, always: true });
    if (existsSync(join(run, 'mnt'))) dropPin(run);
  }
}

/** Of a run that was killed: the store is the demo's alone. */
async function removeLeftovers(): Promise<void> {
  for (const { record } of listContainers(Store.open({ root, run }), { all: true })) {
    await shell.run(`imago rm -f ${record.name}`);
  }
}

async function importBase(summary: Summary): Promise<void> {
  shell.heading(1, "A Debian base, made from Debian's own packages");
  const line = 'mmdebstrap --quiet --variant=minbase bookworm - | imago import - debian:bookworm';
  const present = await shell.run("imago images --format '{{.ID}} {{.Size}}' debian:bookworm");
  if (present.stdout.trim() !== '') {
    shell.say(`Kept from the last run. It was made by:\n  ${line}`);
    return;
  }
  const { seconds } = await shell.run(line);
  summary.base = seconds;
  const { stdout } = await shell.run('imago run --rm --network none debian:bookworm cat /etc/debian_version');
  shell.claim('a container of it is Debian 12', stdout.startsWith('12'));
}

/** What a step prints is long; that it ran, or was cached, is what matters here. */
function isStepLine(line: string): boolean {
  return !/^#\d+ \d+\.\d{3} /.test(line) && line !== '';
}

async function buildApps(summary: Summary): Promise<void> {
  shell.heading(2, 'Two images on the same base');
  // A proxy of the caller's is one of the builds, too; its value stays out of sight.
  const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].filter((name) => process.env[name]);
  const flags = proxies.map((name) => `--build-arg ${name} `).join('');
  const a = await shell.run(`imago build ${flags}-t app-a examples/app-a`, { filter: isStepLine });
  const b = await shell.run(`imago build ${flags}-t app-b examples/app-b`, { filter: isStepLine });
  summary.buildA = a.seconds;
  summary.buildB = b.seconds;
  const apt = /^#(\d+) \[.*RUN apt-get update/m.exec(b.stderr)?.[1];
  shell.claim(
    "app-b took app-a's layer with Python: the step says CACHED",
    apt !== undefined && new RegExp(`^#${apt} CACHED$`, 'm').test(b.stderr),
  );
  summary.cached = (b.stderr.match(/^#\d+ CACHED$/gm) ?? []).length;
  const commands = await shell.run("imago inspect --format '{{json .Config.Cmd}}' app-a app-b");
  shell.claim('they start different commands', /notes\.py.*\n.*words\.py/.test(commands.stdout));
}

async function showSharing(): Promise<void> {
  shell.heading(3, 'What is shared is stored once');
  await shell.run('imago images');
  const { stdout } = await shell.run('imago system df');
  let images = true;
  await shell.run('imago system df -v', {
    filter: (line) => {
      images &&= !line.startsWith('Containers');
      return images;
    },
  });
  const [, alone, shared, stored] =
    /would take (\S+)\. What they share \((\S+)\) is stored once: (\S+) in all/.exec(stdout) ?? [];
  shell.claim(
    `alone the images would take ${alone}; ${shared} of that is shared, so the disk holds ${stored}`,
    parseSize(stored) < parseSize(alone) && parseSize(shared) > 100e6,
  );
}

async function runSessions(summary: Summary, names: string[]): Promise<void> {
  shell.heading(4, 'Sessions: two containers of one image');
  const suffix = process.pid;
  const [one, two, words] = ['notes-one', 'notes-two', 'words'].map((name) => `${name}-${suffix}`) as [
    string,
    string,
    string,
  ];
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  names.push(one, two, words);
  const begin = performance.now();
  await shell.run(`imago run -d --network host -e PORT=${ports[0]} --name ${one} app-a`);
  summary.start = (performance.now() - begin) / 1000;
  await shell.run(`imago run -d --network host -e PORT=${ports[1]} --name ${two} app-a`);
  await shell.run(`imago run -d --network host -e PORT=${ports[2]} --name ${words} app-b`);
  const urls = ports.map((port) => `http://127.0.0.1:${port}/`);
  for (const url of urls) await shell.waitForHttp(url);
  await shell.run('imago ps');

  const added = await shell.http('PUT', `${urls[0]}shopping`, 'milk, bread');
  const changed = await shell.http('PUT', `${urls[0]}about`, 'This note is not in the image any more.');
  const removed = await shell.http('DELETE', `${urls[0]}welcome`);
  shell.claim(
    'the first wrote a note, changed one and removed one',
    added.status === 201 && changed.status === 204 && removed.status === 204,
  );
  const diff = await shell.run(`imago diff ${one}`);
  const lines = diff.stdout.split('\n');
  shell.claim(
    'diff lists exactly that: A, C and D',
    ['A /srv/notes/data/shopping.txt', 'C /srv/notes/data/about.txt', 'D /srv/notes/data/welcome.txt'].every((line) =>
      lines.includes(line),
    ),
  );
  const other = await shell.http('GET', urls[1]!);
  const clean = await shell.run(`imago diff ${two}`);
  shell.claim(
    'the second container sees none of it, and has changed nothing',
    other.text.trim() === '["about", "welcome"]' && !clean.stdout.includes('.txt'),
  );
  const counted = await shell.http('POST', `${urls[2]}?top=1`, 'a rose is a rose is a rose');
  shell.claim('app-b answers, too', JSON.parse(counted.text).words === 8);

  await shell.run(`imago stop ${one} ${two} ${words}`);
  await shell.run(`imago rm ${one} ${two} ${words}`);
  names.length = 0;
  const fresh = await shell.run('imago run --rm --network none app-a ls data');
  shell.claim('the session is gone; the image is as it was', fresh.stdout === 'about.txt\nwelcome.txt\n');
  const left = await shell.run('imago ps -a -q', { show: false });
  shell.claim('no container is left', left.stdout.trim() === '');
}

async function verifyAll(summary: Summary): Promise<void> {
  shell.heading(5, 'Proof that nothing underneath moved');
  const { seconds } = await shell.run('imago verify --all');
  summary.verify = seconds;
  shell.claim('every blob has its digest, and every index is what its layer gives', true);
  const store = Store.open({ root, run });
  const attempt = await tryToWrite(store, 'app-a', 'etc/debian_version');
  shell.say(`Root opens /etc/debian_version for writing in a mounted layer of app-a: ${attempt}`);
  shell.claim('the kernel refuses: a mounted layer is read-only for root, too', attempt === 'EROFS');
}

async function showSummary(summary: Summary): Promise<void> {
  shell.heading(6, 'In short');
  const store = Store.open({ root, run });
  const images = listImages(store).map(({ image }) => image);
  const describe = (name: string): string => {
    const sizes = imageSizes(store, images).get(resolveImage(store, name).id)!;
    return `${formatSize(sizes.size)}, ${formatSize(sizes.unique)} of its own`;
  };
  const time = (seconds: number): string => (seconds === 0 ? 'kept' : `${seconds.toFixed(1)} s`);
  const rows: [string, string, string][] = [
    ['', 'time', 'size'],
    ['base debian:bookworm', time(summary.base), describe('debian:bookworm')],
    ['build app-a', time(summary.buildA), describe('app-a')],
    ['build app-b', time(summary.buildB), describe('app-b')],
    ['steps of app-b from the cache', String(summary.cached), ''],
    ['start a container', time(summary.start), ''],
    ['verify everything', time(summary.verify), ''],
    ['the whole demo', time((performance.now() - started) / 1000), ''],
  ];
  for (const [name, value, note] of rows) shell.say(`  ${name.padEnd(32)}${value.padStart(8)}   ${note}`.trimEnd());
  shell.say(`\nThe store is in ${root} (its base image is kept for the next run; remove it when you like).`);
}

/** "1.97GB" → bytes; NaN for anything else. */
function parseSize(text = ''): number {
  const match = /^([\d.]+)(B|kB|MB|GB|TB)$/.exec(text);
  const units = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
  return match === null ? Number.NaN : Number(match[1]) * units[match[2] as keyof typeof units];
}

try {
  await main();
  process.exit(0);
} catch (error) {
  process.stderr.write(`\ndemo: ${error instanceof DemoFailure ? error.message : (error as Error).stack}\n`);
  process.exit(1);
}
