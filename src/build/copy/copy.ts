import { type ByteString, byteString, displayName } from '../../core/bytes.ts';
import { type Digest, isDigest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import { IgnoreMatcher } from '../../formats/dockerfile/ignore.ts';
import { joinWorkdir } from '../../formats/dockerfile/path.ts';
import { ingestLayer } from '../../store/ingest-layer.ts';
import type { IngestLayerOptions } from '../../store/layer-options.ts';
import { SMALL } from '../../store/layer-source.ts';
import type { Lease } from '../../store/lease.ts';
import type { Store } from '../../store/store.ts';
import { warmThreads } from '../../store/threads.ts';
import { IndexedTree } from '../../tree/indexed.ts';
import { type BuildCache, type StepResult, stepKey } from '../cache.ts';
import type { ImageFiles } from '../context/image-source.ts';
import { bytesFile } from '../context/plain-source.ts';
import type { Materials } from '../provenance.ts';
import type { RemoteRights } from '../remote/secrets.ts';
import { diffIds, runConfig, type StageState } from '../state.ts';
import { parseChmod } from './chmod.ts';
import { digestInputs, type FileTexts } from './inputs.ts';
import type { CopyOrigin } from './origin.ts';
import { resolveOwner } from './owner.ts';
import { type LowerFiles, type Owner, Placement } from './place.ts';
import { type CopySource, type PreparedCopy, unpacks } from './prepare.ts';
import { type Selected, selectParents, selectSources } from './select.ts';
import { ChunkWriter, finishTar, writeMembers } from './stream.ts';
import { type Archive, openArchive, writeArchive } from './unpack.ts';

export interface LayerContext extends RemoteRights {
  store: Store;
  lease: Lease;
  cache: BuildCache;
  /** Take nothing from the cache. */
  noCache: boolean;
  /** Of what the build makes itself. */
  now: Time;
  /** Part of the key where the time is given, and so part of the result. */
  epoch: string | undefined;
  /** Gets what comes from the network. */
  materials?: Materials;
  signal?: AbortSignal;
}

/** What a link is placed on. */
const NO_FILES: LowerFiles = new IndexedTree();

export interface LayerStep extends StepResult {
  cached: boolean;
}

/** Everything about the step but the bytes that it takes from the context, a stage or an image. */
async function copyKey(
  copy: PreparedCopy,
  state: StageState,
  epoch: string | undefined,
  { owner, remotes }: { owner: Owner | undefined; remotes: RemoteSources },
): Promise<string> {
  const { instruction, sources, inline, chown, chmod, exclude, parents, link } = copy;
  const keys: unknown[] = [];
  for (const source of sources) {
    const remote = remotes.get(source);
    keys.push([unpacks(copy, source), source.kind === 'path' ? source.path : await remote!.identity()]);
  }
  return stepKey([
    instruction.name,
    link ? 'link' : diffIds(state),
    keys,
    inline,
    destination(copy, state),
    // Names mean what the image below says; it is not in the key of a link.
    link ? owner : chown,
    chmod,
    exclude,
    parents,
    epoch,
  ]);
}

/** Absolute; a slash at its end where a directory is meant. */
function destination({ dest }: PreparedCopy, state: StageState): string {
  return joinWorkdir(runConfig(state).WorkingDir || '/', dest);
}

/** What a source from the network is, and its files; both ask for it when they have to. */
interface Remote extends Disposable {
  identity(): Promise<string[]>;
  select(): Promise<Selected>;
}

/** The sources of a step that come from the network. Their client is loaded only where there are any. */
class RemoteSources implements Disposable {
  readonly #remotes: Map<CopySource, Remote> = new Map();

  static async open(copy: PreparedCopy, context: LayerContext): Promise<RemoteSources> {
    const { checksum } = copy;
    const opened = new RemoteSources();
    for (const source of copy.sources) {
      if (source.kind === 'url') {
        const { RemoteFile } = await import('../remote/file.ts');
        opened.#remotes.set(source, new RemoteFile(source, checksum, context));
      } else if (source.kind === 'git') {
        const { RemoteRepository } = await import('../remote/git.ts');
        const options = { checksum, exclude: excludeMatcher(copy) };
        opened.#remotes.set(source, new RemoteRepository(source.git, options, context));
      }
    }
    return opened;
  }

  get(source: CopySource): Remote | undefined {
    return this.#remotes.get(source);
  }

  /** What was fetched, for a provenance. */
  async tell(materials: Materials): Promise<void> {
    for (const [source, remote] of this.#remotes) {
      const [, second = '', third = ''] = await remote.identity();
      if (source.kind === 'git') materials.addGit(source.git.url, second);
      else if (source.kind === 'url' && isDigest(third)) materials.addHttp(source.url.href, third);
    }
  }

  [Symbol.dispose](): void {
    for (const remote of this.#remotes.values()) remote[Symbol.dispose]();
  }
}

/**
 * The layer of a COPY or ADD. Looks the result up by the digest of what it would copy; where this step never ran, or
 * the cache is off, the files are read once only: while they go into the layer. `files`, the image below, are not
 * looked at for a link, but for the names in its --chown.
 */
export async function executeCopy(
  copy: PreparedCopy,
  state: StageState,
  files: ImageFiles,
  origin: CopyOrigin,
  context: LayerContext,
): Promise<LayerStep> {
  using remotes = await RemoteSources.open(copy, context);
  const owner = copy.chown === undefined ? undefined : lazily(() => resolveOwner(copy.chown!, () => files));
  const sources = lazily(() => selectAll(copy, origin));
  const makeKey = (): Promise<string> =>
    copyKey(copy, state, context.epoch, { owner: copy.link ? owner?.() : undefined, remotes });
  const key = await makeKey();
  if (context.materials !== undefined) await remotes.tell(context.materials);
  const texts: FileTexts = new Map();
  const digest = (): string =>
    digestInputs([...sources().values()], origin.reader(texts), { owners: origin.ownersCount });
  const noteInputs = async (): Promise<string> => {
    origin.remember(texts);
    const inputs = digest();
    memo.set(inputs);
    return inputs;
  };
  const known = !context.noCache && context.cache.has(key);
  if (!known) expectLayer(sources());
  const memo = origin.memo(memoKey(copy), () => [...sources().values()]);
  if (known) {
    const inputs = memo.get() ?? digest();
    memo.set(inputs);
    const hit = await context.cache.find(key, inputs);
    if (hit !== undefined) return { ...hit, cached: true };
    expectLayer(sources());
  }
  // What was read to look the result up is read again: only what goes into the layer may name it.
  texts.clear();
  const all = await listOperands(copy, sources(), remotes);
  const placement = new Placement(copy.link ? NO_FILES : files, {
    owner: owner?.(),
    chmod: copy.chmod === undefined ? undefined : parseChmod(copy.chmod),
    now: context.now,
  });
  const taken = Promise.withResolvers<void>();
  const dest = byteString(destination(copy, state));
  const making = makeLayer(copy, dest, all, placement, texts, { ...context, onTaken: taken.resolve });
  await Promise.race([taken.promise, making]);
  // Done while the thread ends the layer.
  const inputs = await noteInputs().finally(() => making);
  const layer = await making;
  const result: StepResult = { layer, created: timeText(context.now) };
  // Anew: what came from the network may be another version than the one that was asked about.
  context.cache.set(await makeKey(), inputs, result);
  return { ...result, cached: false };
}

/** The digest of what a copy takes of its origin. Throws `COPY_SOURCE_NOT_FOUND`. */
export function copyInputs(copy: PreparedCopy, origin: CopyOrigin): string {
  const sources = lazily(() => [...selectAll(copy, origin).values()]);
  const memo = origin.memo(memoKey(copy), sources);
  const inputs = memo.get() ?? digestInputs(sources(), origin.reader(new Map()), { owners: origin.ownersCount });
  memo.set(inputs);
  return inputs;
}

/** Where much is copied, the thread for it starts while the copy is planned. */
function expectLayer(sources: ReadonlyMap<CopySource, Selected[]>): void {
  let bytes = 0;
  for (const { node, below } of [...sources.values()].flat()) {
    bytes += node.size;
    for (const file of below) bytes += file.node.size;
  }
  if (bytes >= SMALL) warmThreads();
}

/** RFC 3339. */
export function timeText({ sec }: Time): string {
  return new Date(sec * 1000).toISOString();
}

/** Names of the context, or of a stage or image, by operand. */
function selectAll(copy: PreparedCopy, origin: CopyOrigin): Map<CopySource, Selected[]> {
  const options = { place: origin.place, exclude: excludeMatcher(copy) };
  const select = copy.parents ? selectParents : selectSources;
  return new Map(
    copy.sources.flatMap((source) =>
      source.kind === 'path' ? [[source, select(origin.root, source.path, options)] as const] : [],
    ),
  );
}

function excludeMatcher({ exclude }: PreparedCopy): IgnoreMatcher | undefined {
  return exclude.length === 0 ? undefined : new IgnoreMatcher(exclude);
}

/** What chooses the files of an origin. */
function memoKey({ sources, exclude, parents }: PreparedCopy): { sources: string[]; exclude: string[] } {
  const paths = sources.flatMap((source) => (source.kind === 'path' ? [source.path] : []));
  return { sources: parents ? ['', ...paths] : paths, exclude };
}

function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

interface Operand {
  selected: Selected;
  unpack: boolean;
}

/** What is copied, in the order of the sources; the heredocs come last. Fetches what is not here. */
async function listOperands(
  copy: PreparedCopy,
  sources: ReadonlyMap<CopySource, Selected[]>,
  remotes: RemoteSources,
): Promise<Operand[]> {
  const all: Operand[] = [];
  for (const source of copy.sources) {
    const selected = sources.get(source) ?? [await remotes.get(source)!.select()];
    for (const one of selected) all.push({ selected: one, unpack: unpacks(copy, source) });
  }
  for (const { name, content } of copy.inline) all.push({ selected: inlineFile(name, content), unpack: false });
  return all;
}

async function makeLayer(
  copy: PreparedCopy,
  dest: ByteString,
  operands: readonly Operand[],
  placement: Placement,
  texts: FileTexts,
  { store, lease, signal, onTaken }: LayerContext & Pick<IngestLayerOptions, 'onTaken'>,
): Promise<Digest | null> {
  const placed = placeAll(copy, dest, operands, placement);
  // As far as the first archive, whose names have a say in where the rest goes.
  let next = await placed.next();
  if (next.done && !placement.changes) return null;
  const tar = (async function* () {
    const out = new ChunkWriter();
    for (; !next.done; next = await placed.next()) {
      yield* writeMembers(out, placement.take(), texts);
      yield* writeArchive(out, next.value, placement);
    }
    yield* writeMembers(out, placement.take(), texts);
    yield* finishTar(out);
  })();
  return (await ingestLayer(store, lease, tar, { signal, onTaken })).diffId;
}

/** Plans the operands one after the other; stops at each archive, which is written before the next is planned. */
async function* placeAll(
  { instruction }: PreparedCopy,
  dest: ByteString,
  operands: readonly Operand[],
  placement: Placement,
): AsyncGenerator<Archive> {
  let file = false;
  for (const { selected, unpack } of operands) {
    const tar = unpack ? await openArchive(selected.node) : undefined;
    if (tar !== undefined) {
      placement.makeDirectories(dest, placement.unpacked);
      yield { tar, dest: placement.resolve(dest) };
      continue;
    }
    if (selected.node.type !== 'directory' && !dest.endsWith('/') && !placement.isDirectory(dest)) {
      if (file) throw severalFiles(instruction.name, dest);
      file = true;
    }
    placement.copy(selected, dest);
  }
}

function severalFiles(name: string, dest: ByteString): ImagoError {
  return new ImagoError(
    'NOT_A_DIRECTORY',
    `when using ${name} with more than one source file, the destination must be a directory and end with a /`,
    { got: displayName(dest) },
  );
}

/** A heredoc as a file. Its time is the epoch: the same Dockerfile gives the same layer. */
function inlineFile(name: string, content: string): Selected {
  const node = bytesFile(Buffer.from(content), 0o644);
  return { name: byteString(name.slice(name.lastIndexOf('/') + 1)), node, below: [] };
}
