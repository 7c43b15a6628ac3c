/** A pattern that cannot be compiled. */
export class BadPattern extends Error {}

/**
 * Go's path.Match as a regular expression over text: `*` and `?` stay within a name, `[a-z]`, `[^a-z]`, `\` escapes.
 * Throws `BadPattern` for what Go calls a syntax error.
 */
export function compileGlob(pattern: string): RegExp {
  let out = '^';
  for (let i = 0; i < pattern.length; ) {
    const token = readToken(pattern, i);
    out += token.regexp;
    i = token.end;
  }
  return new RegExp(`${out}$`, 'su');
}

/** Whether a pattern has anything to expand; what follows a `\` does not count. */
export function hasWildcard(pattern: string): boolean {
  return /[*?[]/.test(pattern.replace(/\\[\s\S]/g, ''));
}

/** A pattern without wildcards as the name that it stands for. */
export function unescapeGlob(pattern: string): string {
  return pattern.replace(/\\([\s\S])/g, '$1');
}

/** One unit of a pattern from `at` on: a wildcard, a class, an escape, a character. */
export function readToken(pattern: string, at: number): { regexp: string; end: number } {
  const c = String.fromCodePoint(pattern.codePointAt(at)!);
  switch (c) {
    case '*':
      return { regexp: '[^/]*', end: at + 1 };
    case '?':
      return { regexp: '[^/]', end: at + 1 };
    case '[':
      return readClass(pattern, at + 1);
    case '\\': {
      const code = pattern.codePointAt(at + 1);
      if (code === undefined) throw new BadPattern('syntax error in pattern: a \\ at the end');
      const escaped = String.fromCodePoint(code);
      return { regexp: quote(escaped), end: at + 1 + escaped.length };
    }
    default:
      return { regexp: quote(c), end: at + c.length };
  }
}

function readClass(pattern: string, start: number): { regexp: string; end: number } {
  let at = start;
  const negated = pattern[at] === '^';
  if (negated) at++;
  let body = '';
  for (let count = 0; ; count++) {
    if (pattern[at] === ']' && count > 0) break;
    const low = readClassCharacter(pattern, at);
    at = low.end;
    let high = low;
    if (pattern[at] === '-') {
      high = readClassCharacter(pattern, at + 1);
      at = high.end;
    }
    // A range that runs backwards matches nothing.
    if (low.char <= high.char) body += `${quote(low.char)}-${quote(high.char)}`;
  }
  const regexp = negated ? `[^${body}]` : body === '' ? '(?!)' : `[${body}]`;
  return { regexp: `(?!/)${regexp}`, end: at + 1 };
}

function readClassCharacter(pattern: string, at: number): { char: string; end: number } {
  let i = at;
  if (pattern[i] === '\\') i++;
  else if (pattern[i] === '-' || pattern[i] === ']') throw new BadPattern('syntax error in pattern: bad [class]');
  const code = pattern.codePointAt(i);
  if (code === undefined) throw new BadPattern('syntax error in pattern: [ without ]');
  const char = String.fromCodePoint(code);
  if (i + char.length >= pattern.length) throw new BadPattern('syntax error in pattern: [ without ]');
  return { char, end: i + char.length };
}

function quote(c: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(c) ? `\\${c === '-' ? 'x2d' : c}` : c;
}
