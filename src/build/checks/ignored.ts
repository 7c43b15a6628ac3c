import { IgnoreMatcher, type MatchState } from '../../formats/dockerfile/ignore.ts';
import { cleanSlashes } from '../../formats/dockerfile/path.ts';

/** Which paths of COPY an ignore file keeps out of the context. */
export class IgnoredFiles {
  readonly #patterns: readonly string[];
  readonly #matcher: IgnoreMatcher | undefined;

  /** Throws `BAD_PATTERN`. */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns;
    // What a `!` takes back depends on the files that there are.
    const plain = patterns.length > 0 && !patterns.some((pattern) => pattern.startsWith('!'));
    this.#matcher = plain ? new IgnoreMatcher(patterns) : undefined;
  }

  /** The path as the context has it, where it is ignored. */
  find(path: string): string | undefined {
    if (this.#matcher === undefined || path === '') return undefined;
    const clean = cleanSlashes(path);
    if (clean === '.' || clean === '/') {
      return this.#patterns.some((pattern) => /^\*\*?$|^\*\*\/\*$/.test(pattern)) ? clean : undefined;
    }
    const name = clean.replace(/^\//, '');
    const parts = name.split('/');
    let state: MatchState | undefined;
    for (let i = 1; i <= parts.length; i++) {
      const match = this.#matcher.match(parts.slice(0, i).join('/'), state);
      if (match.ignored) return name;
      state = match.state;
    }
    return undefined;
  }
}
