import { ImagoError } from '../../core/errors.ts';
import { BadPattern, compileGlob, readToken } from './glob.ts';
import { cleanSlashes } from './path.ts';

/** What a directory's match says for what lies in it: per pattern, whether the directory matched it. */
export type MatchState = readonly boolean[];

/**
 * The patterns of an ignore file: comments (`#` as a line's first character), blank lines, a byte order mark and
 * leading slashes taken away, paths cleaned, `!` kept in front. As Docker's.
 */
export function parseIgnoreFile(text: string): string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\ufeff/, '').split('\n')) {
    if (line.startsWith('#')) continue;
    let pattern = line.trim();
    if (pattern === '') continue;
    const inverted = pattern.startsWith('!');
    if (inverted) pattern = pattern.slice(1).trim();
    if (pattern !== '') {
      pattern = cleanSlashes(pattern);
      if (pattern.length > 1 && pattern.startsWith('/')) pattern = pattern.slice(1);
    }
    patterns.push(inverted ? `!${pattern}` : pattern);
  }
  return patterns;
}

interface Pattern {
  readonly negated: boolean;
  /** Where only what starts so can match: the text before the first wildcard. */
  readonly literal: string;
  matches(path: string): boolean;
}

/**
 * Docker's rules for .dockerignore and `--exclude`: the last pattern that matches a path, or a directory above it,
 * decides; `!` takes back; `**` spans directories. Paths are text relative to the root: 'a/b'.
 */
export class IgnoreMatcher {
  readonly #patterns: Pattern[] = [];
  readonly #negations: Pattern[];

  /** Throws `BAD_PATTERN`. */
  constructor(patterns: readonly string[]) {
    for (const text of patterns) {
      const pattern = compilePattern(text);
      if (pattern !== undefined) this.#patterns.push(pattern);
    }
    this.#negations = this.#patterns.filter((pattern) => pattern.negated);
  }

  get empty(): boolean {
    return this.#patterns.length === 0;
  }

  /** `above`: the state of the directory that `path` is in; undefined in the root. */
  match(path: string, above?: MatchState): { ignored: boolean; state: MatchState } {
    let ignored = false;
    const state = this.#patterns.map((pattern, i) => {
      const inherited = above?.[i] === true;
      // A pattern that could only repeat what is decided already is not asked.
      const matched = inherited || (pattern.negated === ignored && pattern.matches(path));
      if (matched) ignored = !pattern.negated;
      return matched;
    });
    return { ignored, state };
  }

  /** Whether something below an ignored directory may be taken back by a `!` pattern. */
  mayReinclude(directory: string): boolean {
    const inside = `${directory}/`;
    return this.#negations.some(({ literal }) => literal.startsWith(inside) || inside.startsWith(literal));
  }
}

function compilePattern(text: string): Pattern | undefined {
  let pattern = text.trim();
  if (pattern === '') return undefined;
  pattern = cleanSlashes(pattern);
  const negated = pattern.startsWith('!');
  if (negated) pattern = pattern.slice(1);
  if (pattern === '') throw badPattern(text, 'illegal exclusion pattern: "!"');
  try {
    compileGlob(pattern);
    const { matches, literal } = compileMatch(pattern);
    return { negated, matches, literal };
  } catch (error) {
    if (error instanceof BadPattern) throw badPattern(text, error.message);
    throw error;
  }
}

/** As moby/patternmatcher v0.6: exact text, `prefix/**`, `**suffix`, or a regular expression. */
function compileMatch(pattern: string): Pick<Pattern, 'matches' | 'literal'> {
  const wild = pattern.search(/[*?[\\]/);
  const literal = wild < 0 ? pattern : pattern.slice(0, wild);
  if (wild < 0) return { literal, matches: (path) => path === pattern };
  if (pattern.slice(wild) === '**' && wild > 0) return { literal, matches: (path) => path.startsWith(literal) };
  const suffix = pattern.slice(2);
  if (pattern.startsWith('**') && !/[*?[\]\\]/.test(suffix)) {
    return { literal, matches: (path) => path.endsWith(suffix) || (suffix[0] === '/' && path === suffix.slice(1)) };
  }
  const regexp = new RegExp(`^${toRegExp(pattern)}$`, 'su');
  return { literal, matches: (path) => regexp.test(path) };
}

function toRegExp(pattern: string): string {
  let out = '';
  for (let i = 0; i < pattern.length; ) {
    if (pattern.startsWith('**', i)) {
      i += 2;
      if (pattern[i] === '/') i++;
      out += i === pattern.length ? '.*' : '(?:.*/)?';
      continue;
    }
    const token = readToken(pattern, i);
    out += token.regexp;
    i = token.end;
  }
  return out;
}

function badPattern(text: string, problem: string): ImagoError {
  return new ImagoError('BAD_PATTERN', `ignore pattern ${JSON.stringify(text)}: ${problem}`);
}
