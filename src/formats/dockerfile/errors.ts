import { ImagoError } from '../../core/errors.ts';

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

  constructor(problem: string, at: LineRange, cause?: unknown) {
    super('DOCKERFILE_ERROR', `dockerfile parse error on line ${at.line}: ${problem}`, { cause });
    this.line = at.line;
    this.endLine = at.endLine;
  }
}

/** `problem`, with the nearest of `options` where one is near. */
export function withSuggestion(problem: string, word: string, options: readonly string[]): string {
  const near = nearestWord(word, options);
  return near === undefined ? problem : `${problem} (did you mean ${near}?)`;
}

/** The option at an edit distance under 3, cased as `word` is; undefined where none is near or one is equal. */
export function nearestWord(word: string, options: readonly string[]): string | undefined {
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let least = 3;
  for (const option of options) {
    const candidate = option.toLowerCase();
    if (candidate === wanted) return undefined;
    const distance = editDistance(wanted, candidate);
    if (distance >= least) continue;
    least = distance;
    best = option;
  }
  if (best === undefined) return undefined;
  if (word === wanted) return best.toLowerCase();
  return word === word.toUpperCase() ? best.toUpperCase() : best;
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
