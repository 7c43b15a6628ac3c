import type { Digest } from '../../core/digest.ts';
import type { IgnoreMatcher } from '../../formats/dockerfile/ignore.ts';
import type { Store } from '../../store/store.ts';
import { stepKey } from '../cache.ts';
import { ContextNode, openContext } from '../context/context.ts';
import type { ImageFiles } from '../context/image-source.ts';
import type { SourceNode } from '../context/source.ts';
import { type FileTexts, fileTextReader, fingerprintContext } from './inputs.ts';
import type { Selected } from './select.ts';
import { InputMemo, type StatCache } from './stat-cache.ts';

/** Where a COPY takes its files from, with what is remembered of them between builds. */
export interface CopyOrigin {
  readonly root: SourceNode;
  /** For messages. */
  readonly place: string;
  /** Whether owners are copied. */
  readonly ownersCount: boolean;
  /** Where it is nothing but layers: all of them, the lowest first. */
  readonly layers?: readonly Digest[];
  /** Gives a file's text for the digest of inputs, from `known`, from what is remembered, or by reading it. */
  reader(known: FileTexts): (node: SourceNode) => string;
  /** Remembers what was read. */
  remember(texts: FileTexts): void;
  /** The digest of inputs as an earlier build found it, where nothing can have changed since. */
  memo(copy: { sources: string[]; exclude: string[] }, selected: () => readonly Selected[][]): Memo;
}

interface Memo {
  get(): string | undefined;
  set(inputs: string): void;
}

/** The build context in the directory `place`, a real path, as it is now. Each file is looked at once. */
export function contextOrigin(
  store: Store,
  { place, cache }: { place: string; cache: StatCache },
  ignore: IgnoreMatcher,
  ignorePatterns: readonly string[],
  name = 'the build context',
): CopyOrigin {
  const scanned = Date.now();
  const root = openContext(place, ignore);
  return {
    root,
    place: name,
    ownersCount: false,
    reader: (known) => fileTextReader(known, { cache, scanned }),
    remember: (texts) => {
      for (const [node, text] of texts) if (node instanceof ContextNode) cache.set(node, text, scanned);
    },
    memo: ({ sources, exclude }, selected) => {
      const memo = new InputMemo(store, stepKey(['context', place, ignorePatterns, sources, exclude]));
      const fingerprint = fingerprintContext(selected(), scanned);
      return {
        get: () => (fingerprint === undefined ? undefined : memo.get(fingerprint)),
        set: (inputs) => {
          if (fingerprint !== undefined) memo.set(fingerprint, inputs);
        },
      };
    },
  };
}

/** The files of a stage or an image: layers never change, so their chain tells all. */
export function layersOrigin(store: Store, files: ImageFiles, diffIds: readonly Digest[], place: string): CopyOrigin {
  return {
    ...plainOrigin(undefined, place),
    get root() {
      return files.root;
    },
    ownersCount: true,
    layers: diffIds,
    memo: ({ sources, exclude }) => {
      const memo = new InputMemo(store, stepKey(['layers', diffIds, sources, exclude]));
      return { get: () => memo.get('layers'), set: (inputs) => memo.set('layers', inputs) };
    },
  };
}

/** Nothing of it is remembered. */
export function plainOrigin(root: SourceNode | undefined, place: string): CopyOrigin {
  return {
    root: root!,
    place,
    ownersCount: false,
    reader: (known) => fileTextReader(known),
    remember: () => {},
    memo: () => ({ get: () => undefined, set: () => {} }),
  };
}

const originNumbers: WeakMap<CopyOrigin, number> = new WeakMap();
let origins = 0;

/** Origins of layers are the same where the layers are; of others each look is one of its own. */
export function originNumber(origin: CopyOrigin): unknown {
  if (origin.layers !== undefined) return origin.layers;
  const known = originNumbers.get(origin) ?? ++origins;
  originNumbers.set(origin, known);
  return known;
}
