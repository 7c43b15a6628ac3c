const SPACE = /[\s\u0085]/;
/** The separators between a Dockerfile's plain words; a no-break space is part of a word. */
const SEPARATORS = /[\t\v\f\r ]+/;

function isSpace(c: string): boolean {
  return SPACE.test(c);
}

export function splitSpaces(text: string): string[] {
  return text === '' ? [] : text.split(SEPARATORS);
}

/** At the first run of separators; the second part is undefined where there is none. */
export function splitFirst(text: string): [first: string, rest: string | undefined] {
  const match = SEPARATORS.exec(text);
  if (match === null) return [text, undefined];
  return [text.slice(0, match.index), text.slice(match.index + match[0].length)];
}

/**
 * Splits at spaces outside quotes. Quotes and escapes stay in the words, for `expandWord` to take away.
 * An escape at the end of the text is dropped.
 */
export function splitQuoted(text: string, escapeChar: string): string[] {
  const words: string[] = [];
  let word = '';
  let started = false;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quote === '' && isSpace(c)) {
      if (started) words.push(word);
      word = '';
      started = false;
      continue;
    }
    if (c === escapeChar && quote !== "'") {
      if (i + 1 === text.length) break;
      word += c + text[++i]!;
      started = true;
      continue;
    }
    if (quote === '' && (c === "'" || c === '"')) quote = c;
    else if (c === quote) quote = '';
    word += c;
    started = true;
  }
  if (started) words.push(word);
  return words;
}

/** Takes the leading `--name=value` words off. Their quotes and escapes are removed; `--` alone ends them. */
export function takeFlags(text: string, escapeChar: string): { flags: string[]; rest: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text[at]!)) at++;
    if (!text.startsWith('--', at)) return { flags, rest: text.slice(at) };
    let word = '';
    let quote = '';
    for (; at < text.length && (quote !== '' || !isSpace(text[at]!)); at++) {
      const c = text[at]!;
      if (c === quote) quote = '';
      else if (quote === '' && (c === "'" || c === '"')) quote = c;
      else if (c === escapeChar) word += text[++at] ?? '';
      else word += c;
    }
    if (word === '--') return { flags, rest: text.slice(at) };
    flags.push(word);
  }
}

/**
 * A JSON array of strings; undefined where the text is none and so is the shell form.
 * Throws a plain Error for an array that holds anything but strings.
 */
export function parseJsonWords(text: string): string[] | undefined {
  if (!text.trimStart().startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
    throw new Error('when using JSON array syntax, arrays must be comprised of strings only');
  }
  return value as string[];
}
