import { type ByteString, byteString } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Time } from '../core/time.ts';
import { IgnoreMatcher } from '../formats/dockerfile/ignore.ts';
import type { AddInstruction, CopyInstruction } from '../formats/dockerfile/instruction.ts';
import { joinWorkdir } from '../formats/dockerfile/path.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { type BuildCache, type StepResult, stepKey } from './cache.ts';
import { parseChmod } from './chmod.ts';
import type { CopyOrigin } from './copy-origin.ts';
import type { ImageFiles } from './image-source.ts';
import { digestInputs, type FileTexts } from './inputs.ts';
import { resolveOwner } from './owner.ts';
import { Placement } from './place.ts';
import { type Selected, selectSources } from './select.ts';
import type { SourceNode } from './source.ts';
import { diffIds, runConfig, type StageState } from './state.ts';
import { ChunkWriter, finishTar, writeMembers } from './stream.ts';
import { openArchive, writeArchives } from './unpack.ts';

/** COPY or ADD, its variables expanded. */
export interface PreparedCopy {
  instruction: CopyInstruction | AddInstruction;
  sources: string[];
  inline: { name: string; content: string }[];
  /** As written, for the history. */
  dest: string;
  chown: string | undefined;
  chmod: string | undefined;
  exclude: string[];
}

export interface LayerContext {
  store: Store;
  lease: Lease;
  cache: BuildCache;
  /** Take nothing from the cache. */
  noCache: boolean;
  /** Of what the build makes itself. */
  now: Time;
  /** Part of the key where the time is given, and so part of the result. */
  epoch: string | undefined;
  signal?: AbortSignal;
}

export interface LayerStep extends StepResult {
  cached: boolean;
}

export function prepareCopy(instruction: CopyInstruction | AddInstruction, expand: Expander): PreparedCopy {
  const sources = instruction.sources.map(expand.word);
  for (const source of sources) refuseRemote(instruction.name, source);
  refuseUnsupported(instruction);
  return {
    instruction,
    sources,
    inline: instruction.inline.map(({ name, content, expand: on }) => ({
      name,
      content: on ? expand.body(content) : content,
    })),
    dest: expand.word(instruction.dest),
    chown: instruction.chown === undefined ? undefined : expand.word(instruction.chown),
    chmod: instruction.chmod === undefined ? undefined : expand.word(instruction.chmod),
    exclude: instruction.exclude.map(expand.word),
  };
}

export interface Expander {
  word(text: string): string;
  /** Of a heredoc: quotes mean nothing. */
  body(text: string): string;
}

function refuseRemote(name: 'COPY' | 'ADD', source: string): void {
  const url = /^(?:https?|ssh|git):\/\//.test(source) || /^git@[^/]+:/.test(source);
  if (!url) return;
  if (name === 'COPY') throw new ImagoError('BAD_SOURCE', `source can't be a URL for COPY: ${source}`);
  throw new ImagoError('UNSUPPORTED', `ADD from a URL is not supported yet: ${source}`, {
    remedy: 'fetch it in a RUN with curl, or put it into the build context',
  });
}

function refuseUnsupported(instruction: CopyInstruction | AddInstruction): void {
  if (instruction.name === 'COPY' && instruction.parents) {
    throw new ImagoError('UNSUPPORTED', 'COPY --parents is not supported yet', {
      remedy: 'COPY each directory to its own place',
    });
  }
  if (instruction.name === 'ADD' && instruction.checksum !== undefined) {
    throw new ImagoError('BAD_FLAG_VALUE', 'checksum requires HTTP(S) or Git sources');
  }
}

/** As Docker's history. */
export function copyHistory({ instruction, sources, inline, dest, chown, chmod }: PreparedCopy): string {
  return [
    instruction.name,
    ...(chown === undefined ? [] : [`--chown=${chown}`]),
    ...(chmod === undefined ? [] : [`--chmod=${chmod}`]),
    ...sources,
    ...inline.map(({ name }) => `<<${name}`),
    dest,
  ].join(' ');
}

/** Everything about the step but the bytes that it copies. */
function copyKey(copy: PreparedCopy, state: StageState, epoch: string | undefined): string {
  const { instruction, sources, inline, chown, chmod, exclude } = copy;
  const { name } = instruction;
  const unpack = unpacks(instruction);
  return stepKey([
    name,
    diffIds(state),
    sources,
    inline,
    destination(copy, state),
    chown,
    chmod,
    exclude,
    unpack,
    epoch,
  ]);
}

function unpacks(instruction: CopyInstruction | AddInstruction): boolean {
  return instruction.name === 'ADD' && (instruction.unpack ?? true);
}

/** Absolute; a slash at its end where a directory is meant. */
function destination({ dest }: PreparedCopy, state: StageState): string {
  return joinWorkdir(runConfig(state).WorkingDir || '/', dest);
}

/**
 * The layer of a COPY or ADD. Looks the result up by the digest of what it would copy; where this step never ran, or
 * the cache is off, the files are read once only: while they go into the layer.
 */
export async function executeCopy(
  copy: PreparedCopy,
  state: StageState,
  files: ImageFiles,
  origin: CopyOrigin,
  context: LayerContext,
): Promise<LayerStep> {
  const sources = lazily(() => selectAll(copy, origin));
  const key = copyKey(copy, state, context.epoch);
  const texts: FileTexts = new Map();
  const digest = (): string => digestInputs(sources(), origin.reader(texts), { owners: origin.ownersCount });
  const memo = origin.memo(copy, sources);
  if (!context.noCache && context.cache.has(key)) {
    const inputs = memo.get() ?? digest();
    const hit = context.cache.get(key, inputs);
    memo.set(inputs);
    origin.save();
    if (hit !== undefined) return { ...hit, cached: true };
  }
  // What was read to look the result up is read again: only what goes into the layer may name it.
  texts.clear();
  const layer = await makeLayer(copy, sources(), state, files, texts, context);
  origin.remember(texts);
  const inputs = digest();
  const result: StepResult = { layer, created: timeText(context.now) };
  context.cache.set(key, inputs, result);
  memo.set(inputs);
  origin.save();
  return { ...result, cached: false };
}

/** RFC 3339. */
export function timeText({ sec }: Time): string {
  return new Date(sec * 1000).toISOString();
}

function selectAll({ sources, exclude }: PreparedCopy, origin: CopyOrigin): Selected[][] {
  const matcher = exclude.length === 0 ? undefined : new IgnoreMatcher(exclude);
  return sources.map((operand) => selectSources(origin.root, operand, { place: origin.place, exclude: matcher }));
}

function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

async function makeLayer(
  copy: PreparedCopy,
  sources: readonly Selected[][],
  state: StageState,
  files: ImageFiles,
  texts: FileTexts,
  { store, lease, now, signal }: LayerContext,
): Promise<Digest | null> {
  const owner = copy.chown === undefined || copy.chown === '' ? undefined : resolveOwner(copy.chown, () => files);
  const chmod = copy.chmod === undefined || copy.chmod === '' ? undefined : parseChmod(copy.chmod);
  const placement = new Placement(files.tree, { owner, chmod, now });
  const dest = byteString(destination(copy, state));
  const all = sources.flat();
  if (all.length + copy.inline.length > 1 && !dest.endsWith('/') && !placement.isDirectory(dest)) {
    throw new ImagoError(
      'NOT_A_DIRECTORY',
      `when using ${copy.instruction.name} with more than one source file, the destination must be a directory and end with a /`,
      { got: copy.dest },
    );
  }
  const archives: { tar: AsyncIterable<Uint8Array>; dest: ByteString }[] = [];
  for (const selected of all) {
    const tar = unpacks(copy.instruction) ? await openArchive(selected.node) : undefined;
    if (tar === undefined) placement.copy(selected, dest);
    else {
      placement.makeDirectories(dest, { mode: 0o755, uid: owner?.uid ?? 0, gid: owner?.gid ?? 0 });
      archives.push({ tar, dest: placement.resolve(dest) });
    }
  }
  for (const { name, content } of copy.inline) placement.copy(inlineFile(name, content), dest);
  if (!placement.changes && archives.length === 0) return null;
  const tar = (async function* () {
    const out = new ChunkWriter();
    yield* writeMembers(out, placement.take(), texts);
    yield* writeArchives(out, archives, placement, owner);
    yield* finishTar(out);
  })();
  return (await ingestLayer(store, lease, tar, { signal })).diffId;
}

/** A heredoc as a file. Its time is the epoch: the same Dockerfile gives the same layer. */
function inlineFile(name: string, content: string): Selected {
  const bytes = Buffer.from(content);
  const node: SourceNode = {
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: { sec: 0, nsec: 0 },
    size: bytes.length,
    linkname: '',
    devmajor: 0,
    devminor: 0,
    identity: undefined,
    xattrs: () => undefined,
    children: () => new Map(),
    open: () => ({
      read: (buffer, offset, length, position) => {
        const part = bytes.subarray(position, position + length);
        buffer.set(part, offset);
        return part.length;
      },
      xattrs: () => undefined,
      close: () => {},
    }),
  };
  return { name: byteString(name.slice(name.lastIndexOf('/') + 1)), node, below: [] };
}
