import { realpathSync } from 'node:fs';
import type { Digest } from '../../core/digest.ts';
import type { IgnoreMatcher } from '../../formats/dockerfile/ignore.ts';
import type { Store } from '../../store/store.ts';
import { stepKey } from '../cache.ts';
import { ContextNode, openContext } from '../context/context.ts';
import type { ImageFiles } from '../context/image-source.ts';
import { plainDirectory } from '../context/plain-source.ts';
import type { SourceNode } from '../context/source.ts';
import { type FileTexts, fileTextReader, fingerprintContext } from './inputs.ts';
import type { Selected } from './select.ts';
import { InputMemo, StatCache } from './stat-cache.ts';

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
  /** Writes what is remembered to the store. */
  save(): void;
}

interface Memo {
  get(): string | undefined;
  set(inputs: string): void;
}

/** The build context in a directory, or none. Each file is looked at once in a build. */
export function contextOrigin(
  store: Store,
  directory: string | undefined,
  ignore: IgnoreMatcher,
  ignorePatterns: readonly string[],
  name = 'the build context',
): CopyOrigin {
  if (directory === undefined) return plainOrigin(plainDirectory(), 'the build context, which is empty');
  const scanned = Date.now();
  const place = realpathSync(directory);
  const cache = new StatCache(store, stepKey(['context', place]), scanned);
  const root = openContext(place, ignore);
  return {
    root,
    place: name,
    ownersCount: false,
    reader: (known) => fileTextReader(cache, known),
    remember: (texts) => {
      for (const [node, text] of texts) if (node instanceof ContextNode) cache.set(node, text);
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
    save: () => cache.save(),
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
    reader: (known) => fileTextReader(undefined, known),
    remember: () => {},
    memo: () => ({ get: () => undefined, set: () => {} }),
    save: () => {},
  };
}
