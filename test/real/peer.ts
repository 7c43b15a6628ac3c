/** Builds Dockerfiles with imago and with docker, and says how the results differ. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { RunNetwork } from '../../src/build/run.ts';
import { buildImage } from '../../src/engine/build.ts';
import { importImage } from '../../src/engine/import.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { tagByName } from '../../src/image/tag-by-name.ts';
import type { Store } from '../../src/store/store.ts';
import { mustRun, type Ran, run } from './public-run.ts';
import { applyLayer, compareTrees, type RealTree } from './tree.ts';

export interface Peer {
  docker(args: readonly string[], cwd?: string): Promise<Ran>;
}

/** What is built and compared. */
export interface RealBuild {
  /** Also the name of what docker builds. */
  name: string;
  /** Paths. */
  file: string;
  context: string;
  target?: string;
  args?: Record<string, string>;
  /** Default: none. */
  network?: RunNetwork;
  /** Regular expressions of paths whose contents no two builds share: logs, caches with times in them. */
  volatile?: string[];
}

/** `case.json` beside a case's Dockerfile and its `context`. */
export interface RealCase extends Pick<RealBuild, 'target' | 'args' | 'volatile'> {
  /** Repository, path in it, and commit that it comes from. */
  source?: string;
  path?: string;
  commit?: string;
}

/** ldconfig notes inodes and times. */
const VOLATILE = ['^var/cache/ldconfig/aux-cache$'];

/** What is compared of an image's config document. */
interface Document {
  config?: Record<string, unknown>;
  history: { created_by?: string; empty_layer?: boolean }[];
  rootfs: { diff_ids: string[] };
}

interface Built extends Pick<Document, 'history'> {
  config: Record<string, unknown>;
  tree: RealTree;
  /** Paths that layers above the base touch. */
  seen: Set<string>;
}

/** The daemon where DOCKER_HOST says; IMAGO_TEST_PEERS is a command prefix under which docker is found. */
export function givenPeer(): Peer {
  const prefix = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');
  return { docker: (args, cwd = '/') => run([...prefix, 'docker', ...args], { cwd }) };
}

/** Gives both engines a root file system's tar as an image of these names. */
export async function importRoot(
  store: Store,
  peer: Peer,
  path: string,
  names: readonly string[],
  changes: readonly string[] = [],
): Promise<void> {
  const [first, ...others] = names as [string, ...string[]];
  const words = changes.flatMap((change) => ['--change', change]);
  const there = peer.docker(['import', ...words, path, first], '/');
  await importImage(store, path, { reference: first, changes });
  for (const name of others) tagByName(store, first, name);
  const { status, stderr } = await there;
  if (status !== 0) throw new Error(stderr);
  await Promise.all(others.map((name) => peer.docker(['tag', first, name])));
}

/** `bases.json`: tar of a root file system → names that Dockerfiles call it. */
export async function importBases(store: Store, peer: Peer, directory: string): Promise<void> {
  const bases = JSON.parse(readFileSync(join(directory, 'bases.json'), 'utf8')) as Record<string, string[]>;
  for (const [file, names] of Object.entries(bases)) await importRoot(store, peer, join(directory, file), names);
}

/** A case of a directory of cases (see README.md). */
export function readCase(directory: string, name: string): RealBuild {
  const home = join(directory, name);
  const { target, args, volatile } = JSON.parse(readFileSync(join(home, 'case.json'), 'utf8')) as RealCase;
  return { name, file: join(home, 'Dockerfile'), context: join(home, 'context'), target, args, volatile };
}

/** Lines, one a difference; none where both are equal. `work` is a directory that docker sees, too. */
export async function compareBuilds(store: Store, peer: Peer, build: RealBuild, work: string): Promise<string[]> {
  const start = Math.floor(Date.now() / 1000) - 86_400;
  mkdirSync(work, { recursive: true });
  const place = mkdtempSync(join(work, 'case-'));
  try {
    const [here, there] = await Promise.allSettled([buildHere(store, build), buildThere(peer, build, place)]);
    if (here.status === 'rejected' || there.status === 'rejected') {
      const said = [here, there].map((result) => (result.status === 'rejected' ? showError(result.reason) : 'worked'));
      throw new Error(`here: ${said[0]}\nthere: ${said[1]}`);
    }
    const [own, other] = [here.value, there.value];
    const ignored = [...VOLATILE, ...(build.volatile ?? [])].map((source) => new RegExp(source));
    const lines = compareTrees(own.tree, other.tree, [...own.seen, ...other.seen], start)
      .filter(({ path }) => !ignored.some((pattern) => pattern.test(path)))
      .map(({ path, what }) => `/${path}: ${what}`);
    return [...lines, ...compareConfigs(own, other)];
  } finally {
    rmSync(place, { recursive: true });
  }
}

/** The end of what a failing step printed is in it. */
function showError(error: Error & { output?: string }): string {
  return `${error.message}\n${(error.output ?? '').slice(-1000)}`;
}

async function buildHere(store: Store, build: RealBuild): Promise<Built> {
  const { context, file, target, args: buildArgs, network = 'none' } = build;
  const { id } = await buildImage(store, { context, file, pull: 'never', network, target, buildArgs });
  const document = JSON.parse(store.readBlob(id).toString()) as Document;
  return readLayers(document, (i) => store.blobPath(resolveImage(store, id).diffIds[i]!));
}

async function buildThere(peer: Peer, build: RealBuild, place: string): Promise<Built> {
  const tag = `imago-real/${build.name}`;
  const words = ['build', `--network=${build.network ?? 'none'}`, '-q', '-f', build.file, '-t', tag];
  if (build.target !== undefined) words.push('--target', build.target);
  for (const [key, value] of Object.entries(build.args ?? {})) words.push('--build-arg', `${key}=${value}`);
  const built = await peer.docker([...words, build.context], place);
  if (built.status !== 0) throw new Error(`docker: ${built.stderr.slice(-3000)}`);
  const tar = join(place, 'saved.tar');
  const saved = await peer.docker(['save', '-o', tar, tag], place);
  await peer.docker(['rmi', '-f', tag]);
  if (saved.status !== 0) throw new Error(saved.stderr);
  return readSaved(tar, place);
}

async function readSaved(tar: string, place: string): Promise<Built> {
  const [manifest] = JSON.parse(await mustRun(['tar', '-xOf', tar, 'manifest.json'])) as [
    { Config: string; Layers: string[] },
  ];
  const document = JSON.parse(await mustRun(['tar', '-xOf', tar, manifest.Config])) as Document;
  const { Layers: layers } = manifest;
  const known = baseTrees.has(document.rootfs.diff_ids[0]!) ? [`--exclude=${layers[0]}`] : [];
  await mustRun(['tar', '-xf', tar, '-C', place, ...known]);
  return readLayers(document, (i) => join(place, layers[i]!));
}

/** By the DiffIDs of first layers: the base's, which both have from one tar. Only its entries are read. */
const baseTrees = new Map<string, RealTree>();

async function readLayers(document: Document, pathOf: (layer: number) => string): Promise<Built> {
  const { config, history, rootfs } = document;
  let tree: RealTree = new Map();
  const seen = new Set<string>();
  const steps = history.filter(({ empty_layer }) => empty_layer !== true);
  for (const [i, diffId] of rootfs.diff_ids.entries()) {
    const known = i === 0 ? baseTrees.get(diffId) : undefined;
    if (known !== undefined) tree = new Map(known);
    else if (!(await applyLayer(tree, pathOf(i), seen))) steps[i]!.empty_layer = true;
    if (i === 0 && known === undefined) {
      baseTrees.set(diffId, new Map(tree));
      seen.clear();
    }
  }
  return { tree, seen, config: config ?? {}, history };
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

function compareConfigs(own: Built, other: Built): string[] {
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

/**
 * Docker up to 26 leaves given values out of the lines of ARG, and a base stage's arguments out of those of RUN; up to
 * 20.10 also the flags of COPY and ADD.
 */
function isSameStep(own: string, other: string): boolean {
  if (own === other || own.replace(/^(COPY|ADD)(?: --\S+)+ /, '$1 ') === other) return true;
  if (/\bARG \w+$/.test(other)) return own.startsWith(`${other}=`);
  return own.startsWith('RUN |') && other.startsWith('RUN ') && own.endsWith(other.slice('RUN '.length));
}

function isNoImport({ created_by }: { created_by?: string }): boolean {
  return (created_by ?? '') !== '' && !/^(?:imago import|Imported from)/.test(created_by!);
}

function showStep({ created_by, empty_layer }: Document['history'][number]): string {
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

/** Why a directory's cases can't be compared; false where they can. */
export function whyNoPeer(directory: string | undefined): string | false {
  if (directory === undefined || !existsSync(join(directory, 'bases.json'))) {
    return 'IMAGO_TEST_DOCKERFILES names no directory of Dockerfiles (see test/real/README.md)';
  }
  if (process.getuid?.() !== 0) return 'RUN needs root';
  const prefix = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');
  const [program = 'docker', ...words] = [...prefix, 'docker', 'version'];
  const answers = spawnSync(program, words, { cwd: '/' }).status === 0;
  return answers ? false : 'no docker daemon answers (IMAGO_TEST_PEERS, DOCKER_HOST)';
}
