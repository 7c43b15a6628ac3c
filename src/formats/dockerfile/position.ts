/** A word in the Dockerfile: its line and column count from 1, columns and lengths in UTF-16 units, as editors do. */
export interface Word {
  line: number;
  column: number;
  length: number;
}

/** From the offset `at` of an instruction's text on, the text stands at this place of the file. */
export interface Segment {
  at: number;
  line: number;
  column: number;
}

/** The text of an instruction, continuations joined, and where its parts come from; without segments nobody knows. */
export interface Positioned {
  source: string;
  segments?: readonly Segment[];
}

/** The place of `length` characters from `at` on; cut where the line of the file ends. */
export function wordAt({ source, segments = [] }: Positioned, at: number, length: number): Word | undefined {
  const next = segments.findIndex((segment) => segment.at > at);
  const segment = segments[next < 0 ? segments.length - 1 : next - 1];
  if (segment === undefined) return undefined;
  const end = next < 0 ? source.length : segments[next]!.at;
  return {
    line: segment.line,
    column: segment.column + at - segment.at,
    length: Math.max(1, Math.min(length, end - at)),
  };
}

/**
 * The first place of a word of the instruction, for an error that is about it: where it stands as a whole, else
 * anywhere in the text; undefined where quotes or escapes make it look different there.
 */
export function findWord(text: Positioned, word: string, from = 0): Word | undefined {
  if (word === '') return undefined;
  let found = -1;
  for (let at = text.source.indexOf(word, from); at >= 0; at = text.source.indexOf(word, at + 1)) {
    if (found < 0) found = at;
    if (!isPart(text.source, at - 1, word[0]!) && !isPart(text.source, at + word.length, word.at(-1)!)) {
      return wordAt(text, at, word.length);
    }
  }
  return found < 0 ? undefined : wordAt(text, found, word.length);
}

/** Whether the character at this offset belongs to the same word as the one beside it. */
function isPart(source: string, at: number, beside: string): boolean {
  return at >= 0 && at < source.length && /\w/.test(beside) && /\w/.test(source[at]!);
}

/** Segments of the text from `cut` on. */
export function cutSegments(segments: readonly Segment[], cut: number): Segment[] {
  const out: Segment[] = [];
  for (const { at, line, column } of segments) {
    if (at <= cut) out[0] = { at: 0, line, column: column + cut - at };
    else out.push({ at: at - cut, line, column });
  }
  return out;
}
