/** Builds one directory's Dockerfile with imago and with docker, and says how the results differ. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildImage } from '../../src/engine/build.ts';
import { importImage } from '../../src/engine/import.ts';
import { saveImages } from '../../src/engine/save.ts';
import { tagByName } from '../../src/image/tag-by-name.ts';
import type { Store } from '../../src/store/store.ts';
import { applyLayer, compareTrees, type RealTree } from './tree.ts';

/** A command prefix under which docker is found; its daemon is where DOCKER_HOST says. */
const prefix: string[] = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');

/** `case.json` beside a case's Dockerfile and its `context`. */
export interface RealCase {
  /** Repository, path in it, and commit that it comes from. */
  source?: string;
  path?: string;
  commit?: string;
  target?: string;
  args?: Record<string, string>;
  /** Regular expressions of paths whose contents no two builds share: logs, caches with times in them. */
  volatile?: string[];
}

/** ldconfig notes inodes and times. */
const VOLATILE = ['^var/cache/ldconfig/aux-cache$'];

interface Saved {
  tree: RealTree;
  seen: Set<string>;
  config: Record<string, unknown>;
  history: { created_by?: string; empty_layer?: boolean }[];
}

export function docker(args: string[], cwd = '/'): { status: number | null; stdout: string; stderr: string } {
  const [program, ...words] = [...prefix, 'docker', ...args] as [string, ...string[]];
  const { status, stdout, stderr } = spawnSync(program, words, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 });
  return { status, stdout: stdout ?? '', stderr: stderr ?? '' };
}

/** `bases.json`: tar of a root file system → names that Dockerfiles call it. Both engines get them all. */
export async function importBases(store: Store, directory: string): Promise<void> {
  const bases = JSON.parse(readFileSync(join(directory, 'bases.json'), 'utf8')) as Record<string, string[]>;
  for (const [file, names] of Object.entries(bases)) {
    const path = join(directory, file);
    const { stdout, status, stderr } = docker(['import', path], directory);
    if (status !== 0) throw new Error(stderr);
    const [first, ...others] = names as [string, ...string[]];
    await importImage(store, path, { reference: first });
    for (const name of others) tagByName(store, first, name);
    for (const name of names) docker(['tag', stdout.trim(), name]);
  }
}

/** Lines, one a difference; none where both are equal. */
export async function compareBuilds(store: Store, directory: string, name: string, work: string): Promise<string[]> {
  const home = join(directory, name);
  const file = join(home, 'Dockerfile');
  const info = JSON.parse(readFileSync(join(home, 'case.json'), 'utf8')) as RealCase;
  const start = Math.floor(Date.now() / 1000) - 86_400;
  const tag = `imago-real/${name}`;
  const words = ['build', '--network=none', '-q', '-f', file, '-t', tag];
  if (info.target !== undefined && info.target !== null) words.push('--target', info.target);
  for (const [key, value] of Object.entries(info.args ?? {})) words.push('--build-arg', `${key}=${value}`);
  const built = docker([...words, join(home, 'context')], directory);
  if (built.status !== 0) throw new Error(`docker: ${built.stderr.slice(-2000)}`);
  const { id } = await buildImage(store, {
    context: join(home, 'context'),
    file,
    pull: 'never',
    network: 'none',
    target: info.target ?? undefined,
    buildArgs: info.args,
  });
  mkdirSync(work, { recursive: true });
  const ownTar = join(work, 'own.tar');
  const otherTar = join(work, 'other.tar');
  await saveImages(store, [id], { output: ownTar });
  const saved = docker(['save', '-o', otherTar, tag], directory);
  docker(['rmi', '-f', tag]);
  if (saved.status !== 0) throw new Error(saved.stderr);
  const own = await readSaved(ownTar);
  const other = await readSaved(otherTar);
  rmSync(work, { recursive: true });
  const ignored = [...VOLATILE, ...(info.volatile ?? [])].map((source) => new RegExp(source));
  const lines = compareTrees(own.tree, other.tree, [...own.seen, ...other.seen], start)
    .filter(({ path }) => !ignored.some((pattern) => pattern.test(path)))
    .map(({ path, what }) => `/${path}: ${what}`);
  return [...lines, ...compareConfigs(own, other)];
}

/** The first layer is the base's, which both have from one tar: only its entries are read. */
const baseTrees = new Map<string, RealTree>();

async function readSaved(tar: string): Promise<Saved> {
  const directory = `${tar}.d`;
  mkdirSync(directory);
  const { status, stderr } = spawnSync('tar', ['-xf', tar, '-C', directory], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  rmSync(tar);
  const [manifest] = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as {
    Config: string;
    Layers: string[];
  }[];
  const document = JSON.parse(readFileSync(join(directory, manifest!.Config), 'utf8')) as {
    config: Record<string, unknown>;
    history: Saved['history'];
    rootfs: { diff_ids: string[] };
  };
  let tree: RealTree = new Map();
  const seen = new Set<string>();
  const layerSteps = document.history.filter(({ empty_layer }) => empty_layer !== true);
  for (const [i, layer] of manifest!.Layers.entries()) {
    const diffId = document.rootfs.diff_ids[i]!;
    const known = i === 0 ? baseTrees.get(diffId) : undefined;
    if (known !== undefined) tree = new Map(known);
    else if (!(await applyLayer(tree, join(directory, layer), seen))) layerSteps[i]!.empty_layer = true;
    if (i === 0 && !baseTrees.has(diffId)) baseTrees.set(diffId, new Map(tree));
  }
  rmSync(directory, { recursive: true });
  return { tree, seen, config: document.config, history: document.history };
}

/**
 * What differs by design: docker's history ends with '# buildkit', its EXPOSE (up to version 26) and HEALTHCHECK
 * show Go values, and it has a layer for steps that changed nothing; ArgsEscaped means something on Windows only. Docker
 * up to 26 keeps the slash at the end of WORKDIR; BuildKit no longer.
 */
function plainHistory(text: string): string {
  if (text.startsWith('HEALTHCHECK ')) return 'HEALTHCHECK';
  return text
    .replace(/ # buildkit$/, '')
    .replace(/^(WORKDIR .+)\/$/, '$1')
    .replace(/^(EXPOSE )map\[(.*):\{\}\]$/, '$1[$2]')
    .replaceAll(':{} ', ' ');
}

const EMPTY = new Set(['', 'false', '[]', '{}', 'null']);

function compareConfigs(own: Saved, other: Saved): string[] {
  const out: string[] = [];
  const keys = new Set([...Object.keys(own.config), ...Object.keys(other.config)]);
  keys.delete('ArgsEscaped');
  for (const key of keys) {
    const [a, b] = [own.config[key], other.config[key]].map((value) =>
      sortKeys(key === 'WorkingDir' ? trimSlash(value) : value),
    );
    if (a !== b && !(EMPTY.has(a!) && EMPTY.has(b!))) out.push(`config ${key}: ${a}, not ${b}`);
  }
  const [a, b] = [own.history, other.history].map((list) => list.filter(isNoImport).map(showStep));
  for (let i = 0; i < Math.max(a!.length, b!.length); i++) {
    if (!isSameStep(a![i] ?? '', b![i] ?? '')) out.push(`history ${i}: ${a![i]}, not ${b![i]}`);
  }
  return out;
}

/** Docker up to 26 leaves given values out of the lines of ARG, and a base stage's arguments out of those of RUN. */
function isSameStep(own: string, other: string): boolean {
  if (own === other) return true;
  if (/\bARG \w+$/.test(other)) return own.startsWith(`${other}=`);
  return own.startsWith('RUN |') && other.startsWith('RUN ') && own.endsWith(other.slice('RUN '.length));
}

function isNoImport({ created_by }: { created_by?: string }): boolean {
  return (created_by ?? '') !== '' && !/^(?:imago import|Imported from)/.test(created_by!);
}

function showStep({ created_by, empty_layer }: Saved['history'][number]): string {
  return `${empty_layer === true ? '(no layer) ' : ''}${plainHistory(created_by ?? '')}`;
}

function trimSlash(value: unknown): unknown {
  return typeof value === 'string' ? value.replace(/(?<=.)\/$/, '') : value;
}

function sortKeys(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))))
    : JSON.stringify(value).replace(/^""$/, '');
}

/** Why no comparison can be made; false where it can. */
export function whyNoPeer(directory: string | undefined): string | false {
  if (directory === undefined || !existsSync(join(directory, 'bases.json'))) {
    return 'IMAGO_TEST_DOCKERFILES names no directory of Dockerfiles (see test/real/README.md)';
  }
  if (process.getuid?.() !== 0) return 'RUN needs root';
  return docker(['version']).status === 0 ? false : 'no docker daemon answers (IMAGO_TEST_PEERS, DOCKER_HOST)';
}
