import { DockerfileError, type LineRange } from '../../formats/dockerfile/errors.ts';
import { type ExpandOptions, expandWord, expandWords, SubstitutionError } from '../../formats/dockerfile/expand.ts';
import { findWord, type Positioned, type Word, wordAt } from '../../formats/dockerfile/position.ts';

export interface Expansion {
  text: string;
  /** Split at spaces that are neither quoted nor escaped. */
  words(): string[];
  /** Variables that are set, and that are not, of those that the word names. */
  set: Set<string>;
  unset: Set<string>;
}

/** Of a longer value its beginning is enough for every check: values that grow with each line take no memory. */
const LONGEST_VALUE = 8192;

/** Expands a word and says which variables it uses. Throws `DockerfileError`, with its place. */
export function expandNoting(
  word: string,
  variables: ReadonlyMap<string, string>,
  options: ExpandOptions,
  at: LineRange & Positioned,
  // Gets what is known of them also where the word cannot be expanded.
  unset: Set<string> = new Set(),
): Expansion {
  const set = new Set<string>();
  const lookup = (name: string): string | undefined => {
    const value = variables.get(name);
    (value === undefined ? unset : set).add(name);
    return value?.slice(0, LONGEST_VALUE);
  };
  try {
    return {
      text: expandWord(word, lookup, options),
      words: () => expandWords(word, lookup, options),
      set,
      unset,
    };
  } catch (error) {
    throw locateSubstitution(error, at);
  }
}

/** What cannot be expanded, as an error at its place in the instruction. */
export function locateSubstitution(error: unknown, at: LineRange & Positioned): unknown {
  if (!(error instanceof SubstitutionError)) return error;
  return new DockerfileError(error.message, at, error, substitutionPlace(error, at));
}

export function substitutionPlace(error: SubstitutionError, at: Positioned): Word | undefined {
  const start = at.source.indexOf(error.word);
  return start < 0 ? undefined : wordAt(at, start + error.at, error.length);
}

/** Where an instruction uses a variable: from `from` on, the first of `$name` and `${name`. */
export function findVariable(at: Positioned, name: string): Word | undefined {
  for (let i = at.source.indexOf('$'); i >= 0; i = at.source.indexOf('$', i + 1)) {
    const brace = at.source[i + 1] === '{' ? 1 : 0;
    const start = i + 1 + brace;
    const after = at.source[start + name.length] ?? '';
    if (!at.source.startsWith(name, start) || /[\p{L}\p{Nd}_]/u.test(after)) continue;
    return wordAt(at, i, name.length + 1 + brace + (brace === 1 && after === '}' ? 1 : 0));
  }
  return findWord(at, name);
}
