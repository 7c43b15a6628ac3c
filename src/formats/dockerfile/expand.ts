import { ImagoError } from '../../core/errors.ts';
import { removePrefix, removeSuffix, replacePattern } from './shellpattern.ts';

/** Value of a variable, or undefined where it is unset. */
export type Lookup = (name: string) => string | undefined;

export interface ExpandOptions {
  /** The Dockerfile's escape character; '\\' unless its `escape` directive says otherwise. */
  escape?: string;
  /** Keeps quotes in the result. */
  rawQuotes?: boolean;
  /** Keeps escape characters in the result. */
  rawEscapes?: boolean;
  /** Takes quotes as ordinary characters (heredoc bodies). */
  ignoreQuotes?: boolean;
  /** Leaves references to unset variables as they are written. */
  keepUnset?: boolean;
}

/** A word that cannot be expanded, and what in it is wrong. */
export class SubstitutionError extends ImagoError {
  override readonly name: string = 'SubstitutionError';
  readonly word: string;
  /** Offset and length in `word`. */
  readonly at: number;
  readonly length: number;

  constructor(word: string, problem: SyntaxProblem) {
    const shown = word.length > LONGEST_SHOWN ? `${word.slice(0, LONGEST_SHOWN)}…` : word;
    super('BAD_SUBSTITUTION', `failed to process ${JSON.stringify(shown)}: ${problem.message}`);
    this.word = word;
    this.at = problem.at ?? 0;
    this.length = problem.length;
  }
}

/**
 * Expands variables and removes quotes and escapes, as the Dockerfile reference (§Environment replacement) says and
 * BuildKit does: `$x`, `${x}`, `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`. Spaces stay.
 * Throws `BAD_SUBSTITUTION`.
 */
export function expandWord(word: string, lookup: Lookup, options: ExpandOptions = {}): string {
  if (!/[\\`'"$<]/.test(word)) return word;
  return new Expander(word, lookup, options).run().text;
}

/** Like `expandWord`, but split at spaces that are neither quoted nor escaped. */
export function expandWords(word: string, lookup: Lookup, options: ExpandOptions = {}): string[] {
  return new Expander(word, lookup, options).run().words;
}

const SPACE = /[\s\u0085]/;
const LETTER = /[\p{L}\p{Nd}_]/u;
const SPECIAL_PARAMETERS = '@*#?-$!0';
/** Characters: `ENV A=$A$A` again and again doubles its value each time. */
const LONGEST = 2 ** 22;
const LONGEST_SHOWN = 200;
/** `${a:-${a:-${a:-…`: more than anybody writes, less than the call stack holds. */
const DEEPEST = 200;
const TOO_LONG = `the value is longer than ${LONGEST} characters`;

/** Collects the split words: characters from quotes and escapes never split. */
class Words {
  readonly list: string[] = [];
  #word = '';

  add(text: string): void {
    for (const c of text) {
      if (!SPACE.test(c)) this.#word += c;
      else this.#flush();
    }
  }

  addRaw(text: string): void {
    this.#word += text;
  }

  end(): string[] {
    this.#flush();
    return this.list;
  }

  #flush(): void {
    if (this.#word !== '') this.list.push(this.#word);
    this.#word = '';
  }
}

class Expander {
  readonly #source: string;
  readonly #lookup: Lookup;
  readonly #options: ExpandOptions;
  readonly #escape: string;
  #at = 0;
  #depth = 0;
  #rawEscapes: boolean;

  constructor(source: string, lookup: Lookup, options: ExpandOptions) {
    this.#source = source;
    this.#lookup = lookup;
    this.#options = options;
    this.#escape = options.escape ?? '\\';
    this.#rawEscapes = options.rawEscapes ?? false;
  }

  run(): { text: string; words: string[] } {
    try {
      return this.#until(undefined, this.#rawEscapes);
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      throw new SubstitutionError(this.#source, error);
    }
  }

  #peek(): string | undefined {
    return this.#source[this.#at];
  }

  #next(): string | undefined {
    return this.#source[this.#at++];
  }

  /** Reads to `stop` (consumed), or to the end where it is undefined. */
  #until(stop: string | undefined, rawEscapes: boolean): { text: string; words: string[] } {
    const outer = this.#rawEscapes;
    this.#rawEscapes = rawEscapes;
    const words = new Words();
    let text = '';
    for (let c = this.#peek(); c !== undefined; c = this.#peek()) {
      if (text.length > LONGEST) throw new SyntaxProblem(TOO_LONG);
      if (c === stop) {
        this.#at++;
        this.#rawEscapes = outer;
        return { text, words: words.end() };
      }
      if (c === '$') {
        const value = this.#located(() => this.#dollar());
        text += value;
        words.add(value);
      } else if ((c === "'" || c === '"') && this.#options.ignoreQuotes !== true) {
        const value = this.#located(() => (c === "'" ? this.#singleQuoted() : this.#doubleQuoted()));
        text += value;
        words.addRaw(value);
      } else if (c === '<') {
        const value = this.#lessThan();
        text += value;
        words.addRaw(value);
      } else if (c === this.#escape) {
        this.#at++;
        const escaped = this.#next();
        const value = (this.#rawEscapes ? c : '') + (escaped ?? '');
        text += value;
        words.addRaw(value);
      } else {
        this.#at++;
        text += c;
        words.add(c);
      }
    }
    this.#rawEscapes = outer;
    if (stop !== undefined) throw new SyntaxProblem(`unexpected end of statement while looking for matching ${stop}`);
    return { text, words: words.end() };
  }

  /** The innermost reference or quote that something is wrong with is what the error is about. */
  #located(read: () => string): string {
    const start = this.#at;
    try {
      if (++this.#depth > DEEPEST) throw new SyntaxProblem(`more than ${DEEPEST} substitutions in each other`);
      return read();
    } catch (error) {
      if (error instanceof SyntaxProblem && error.at === undefined) {
        error.at = start;
        error.length = Math.max(1, Math.min(this.#at, this.#source.length) - start);
      }
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /** `<<` keeps the spaces after it, so that a heredoc's word stays one word. */
  #lessThan(): string {
    this.#at++;
    if (this.#peek() !== '<') return '<';
    this.#at++;
    let text = '<<';
    for (let c = this.#peek(); c === ' ' || c === '\t' || c === '\r'; c = this.#peek()) {
      text += c;
      this.#at++;
    }
    return text;
  }

  #singleQuoted(): string {
    const quote = this.#options.rawQuotes === true ? "'" : '';
    const end = this.#source.indexOf("'", this.#at + 1);
    if (end < 0) throw new SyntaxProblem('unexpected end of statement while looking for matching single-quote');
    const text = this.#source.slice(this.#at + 1, end);
    this.#at = end + 1;
    return quote + text + quote;
  }

  #doubleQuoted(): string {
    const quote = this.#options.rawQuotes === true ? '"' : '';
    let text = quote;
    this.#at++;
    for (;;) {
      if (text.length > LONGEST) throw new SyntaxProblem(TOO_LONG);
      const c = this.#peek();
      if (c === undefined)
        throw new SyntaxProblem('unexpected end of statement while looking for matching double-quote');
      if (c === '$') {
        text += this.#located(() => this.#dollar());
        continue;
      }
      this.#at++;
      if (c === '"') return text + quote;
      if (c !== this.#escape) {
        text += c;
        continue;
      }
      const escaped = this.#peek();
      if (this.#rawEscapes) text += c;
      if (escaped === undefined) continue;
      if (escaped === '"' || escaped === '$' || escaped === this.#escape) {
        text += escaped;
        this.#at++;
      } else if (!this.#rawEscapes) text += c;
    }
  }

  #dollar(): string {
    this.#at++;
    if (this.#peek() !== '{') {
      const name = this.#name();
      if (name === '') return '$';
      return this.#lookup(name) ?? (this.#options.keepUnset === true ? `$${name}` : '');
    }
    this.#at++;
    const first = this.#peek();
    if (first === undefined) throw new SyntaxProblem("syntax error: missing '}'");
    if (first === '{' || first === '}' || first === ':') throw new SyntaxProblem('syntax error: bad substitution');
    const name = this.#name();
    const operator = this.#next();
    if (operator === '}') {
      return this.#lookup(name) ?? (this.#options.keepUnset === true ? `\${${name}}` : '');
    }
    if (operator === '/') return this.#replace(name);
    return this.#modified(name, operator);
  }

  #modified(name: string, first: string | undefined): string {
    const nullIsUnset = first === ':';
    const operator = nullIsUnset ? this.#next() : first;
    const written = (nullIsUnset ? ':' : '') + (operator ?? '');
    const pattern = operator === '#' || operator === '%';
    if (operator === undefined || !'+-?#%'.includes(operator) || (pattern && nullIsUnset)) {
      throw new SyntaxProblem(`unsupported modifier (${written}) in substitution`);
    }
    const word = this.#part('}', pattern);
    const value = this.#lookup(name);
    if (value === undefined && this.#options.keepUnset === true) return `\${${name}${written}${word}}`;
    const missing = value === undefined || (nullIsUnset && value === '');
    switch (operator) {
      case '-':
        return missing ? word : value;
      case '+':
        return missing ? '' : word;
      case '?':
        if (!missing) return value;
        throw new SyntaxProblem(
          `${name}: ${word === '' ? `is not allowed to be ${value === undefined ? 'unset' : 'empty'}` : word}`,
        );
      default: {
        const greedy = word.startsWith(operator);
        const cut = operator === '#' ? removePrefix : removeSuffix;
        return this.#pattern(word, () => cut(value ?? '', greedy ? word.slice(1) : word, greedy));
      }
    }
  }

  #replace(name: string): string {
    const all = this.#peek() === '/';
    if (all) this.#at++;
    const pattern = this.#part('/', true);
    const replacement = this.#part('}', true);
    const value = this.#lookup(name);
    if (value === undefined && this.#options.keepUnset === true) {
      return `\${${name}${all ? '//' : '/'}${pattern}/${replacement}}`;
    }
    return this.#pattern(pattern, () => replacePattern(value ?? '', pattern, replacement, all));
  }

  #part(stop: string, rawEscapes: boolean): string {
    try {
      return this.#until(stop, rawEscapes).text;
    } catch (error) {
      if (!(error instanceof SyntaxProblem) || this.#at < this.#source.length) throw error;
      throw new SyntaxProblem(`syntax error: missing '${stop}'${stop === '/' ? ` in \${}` : ''}`);
    }
  }

  #pattern(pattern: string, apply: () => string): string {
    try {
      return apply();
    } catch (error) {
      throw new SyntaxProblem(`invalid pattern (${pattern}) in substitution: ${(error as Error).message}`);
    }
  }

  #name(): string {
    const first = this.#peek();
    if (first === undefined) return '';
    if (/\d/.test(first)) {
      const digits = /^\d+/.exec(this.#source.slice(this.#at))![0];
      this.#at += digits.length;
      return digits;
    }
    if (SPECIAL_PARAMETERS.includes(first)) {
      this.#at++;
      return first;
    }
    let name = '';
    for (let c = this.#codePoint(); c !== undefined && LETTER.test(c); c = this.#codePoint()) {
      name += c;
      this.#at += c.length;
    }
    return name;
  }

  #codePoint(): string | undefined {
    const code = this.#source.codePointAt(this.#at);
    return code === undefined ? undefined : String.fromCodePoint(code);
  }
}

class SyntaxProblem extends Error {
  at: number | undefined;
  length = 1;
}
