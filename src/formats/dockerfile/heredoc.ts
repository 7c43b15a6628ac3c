import { expandWords, SubstitutionError } from './expand.ts';

/** A here-document of RUN, COPY or ADD: `<<NAME`, `<<-NAME`, `<<"NAME"`, `3<<NAME`. */
export interface Heredoc {
  /** The word that ends it, without quotes; for COPY also the file's name. */
  name: string;
  /** False where any part of the word is quoted: then variables in the content stay as they are. */
  expand: boolean;
  /** `<<-`: leading tabs of each line are to be removed (`chompTabs`), and may stand before the end word. */
  chomp: boolean;
  /** Lines up to the end word, each with its line ending, as written. */
  content: string;
}

const HEREDOC = /^\d*<<(-?)/;
const unset = (): undefined => undefined;

/** The heredoc that a word announces, its content still empty; undefined where the word announces none. */
export function parseHeredocWord(word: string): Heredoc | undefined {
  const match = HEREDOC.exec(word);
  const end = match === null ? '' : word.slice(match[0].length).trimStart();
  if (end === '' || end.includes('<')) return undefined;
  try {
    const plain = expandWords(end, unset, { keepUnset: true });
    if (plain.length !== 1) return undefined;
    const raw = expandWords(end, unset, { keepUnset: true, rawQuotes: true });
    const name = plain[0]!;
    return { name, expand: countQuotes(name) === countQuotes(raw[0]!), chomp: match![1] === '-', content: '' };
  } catch (error) {
    // A quote that is not closed in this word.
    if (error instanceof SubstitutionError) return undefined;
    throw error;
  }
}

/** All heredocs that an instruction announces, in order. */
export function findHeredocs(line: string): Heredoc[] {
  let words: string[];
  try {
    words = expandWords(line, unset, { keepUnset: true, rawQuotes: true, rawEscapes: true });
  } catch {
    return [];
  }
  return words.map((word) => parseHeredocWord(word)).filter((doc) => doc !== undefined);
}

export function chompTabs(content: string): string {
  return content.replace(/^\t+/gm, '');
}

/** What progress and history show of a heredoc: its first line, `...` after it where there are more. */
export function summarizeHeredoc(content: string): string {
  const lines = content.trim().split(/\r?\n/);
  return lines[0]! + (lines.length > 1 ? '...' : '');
}

function countQuotes(text: string): number {
  return text.split(/['"]/).length - 1;
}
