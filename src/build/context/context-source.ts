import { realpathSync } from 'node:fs';
import { IgnoreMatcher } from '../../formats/dockerfile/ignore.ts';
import type { Store } from '../../store/store.ts';
import { stepKey } from '../cache.ts';
import { type CopyOrigin, contextOrigin, plainOrigin } from '../copy/origin.ts';
import { StatCache } from '../copy/stat-cache.ts';
import { openContext } from './context.ts';
import { plainDirectory } from './plain-source.ts';
import type { SourceNode } from './source.ts';

/** Where a build takes the files of one context from. */
export interface ContextSource {
  /** Looks at them anew: what people changed meanwhile counts. */
  open(): CopyOrigin;
  /** Writes down for the next build what was read in this one. */
  save?(): void;
}

export const EMPTY_CONTEXT: ContextSource = {
  open: () => plainOrigin(plainDirectory(), 'the build context, which is empty'),
};

/** A directory of the user's: what is read of it is remembered between builds. Throws `BAD_PATTERN`. */
export function directorySource(
  store: Store,
  directory: string,
  ignorePatterns: readonly string[],
  place?: string,
): ContextSource {
  const ignore = new IgnoreMatcher(ignorePatterns);
  const real = realpathSync(directory);
  const cache = new StatCache(store, stepKey(['context', real]));
  return {
    open: () => contextOrigin(store, { place: real, cache }, ignore, ignorePatterns, place),
    save: () => cache.save(),
  };
}

/** A directory that was made for this build. */
export function privateSource(directory: string, place: string): ContextSource {
  const origin = plainOrigin(openContext(directory, new IgnoreMatcher([])), place);
  return { open: () => origin };
}

/** Files that never change. */
export function fixedSource(root: SourceNode, place: string): ContextSource {
  const origin = plainOrigin(root, place);
  return { open: () => origin };
}
