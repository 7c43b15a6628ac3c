import { ImagoError } from '../../core/errors.ts';
import type { Word } from './position.ts';

/** Lines of the Dockerfile that an instruction takes, counted from 1, both included. */
export interface LineRange {
  line: number;
  endLine: number;
}

/** An error that points into a Dockerfile. The message reads as BuildKit's: `dockerfile parse error on line N: …`. */
export class DockerfileError extends ImagoError {
  override readonly name: string = 'DockerfileError';
  readonly line: number;
  readonly endLine: number;
  /** What in the lines it is about, where that is known. */
  readonly word: Word | undefined;

  constructor(problem: string, at: LineRange, cause?: unknown, word?: Word) {
    super('DOCKERFILE_ERROR', `dockerfile parse error on line ${at.line}: ${problem}`, { cause });
    this.line = at.line;
    this.endLine = at.endLine;
    this.word = word;
  }
}

/** `problem`, with the nearest of `options` where one is near. */
export function withSuggestion(problem: string, word: string, options: readonly string[]): string {
  const near = nearestWord(word, options);
  return near === undefined ? problem : `${problem} (did you mean ${near}?)`;
}

const NEAR = 3;

/** The option at an edit distance under 3, cased as `word` is; undefined where none is near or one is equal. */
export function nearestWord(word: string, options: readonly string[]): string | undefined {
  const best = nearest(
    word.toLowerCase(),
    options.map((option) => option.toLowerCase()),
  );
  if (best === undefined) return undefined;
  const found = options[best]!;
  if (word === word.toLowerCase()) return found.toLowerCase();
  return word === word.toUpperCase() ? found.toUpperCase() : found;
}

/** Like `nearestWord`, for names in which capitals count: variables. */
export function nearestName(name: string, options: readonly string[]): string | undefined {
  const best = nearest(name, options);
  return best === undefined ? undefined : options[best];
}

function nearest(word: string, options: readonly string[]): number | undefined {
  let best: number | undefined;
  let least = NEAR;
  for (const [i, option] of options.entries()) {
    if (option === word) return undefined;
    if (Math.abs(option.length - word.length) >= least) continue;
    const distance = editDistance(word, option);
    if (distance >= least) continue;
    least = distance;
    best = i;
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(change, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
