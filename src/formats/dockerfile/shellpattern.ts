/**
 * Patterns of `${x#…}`, `${x%…}` and `${x/…/…}`: `*` and `?`, and `\` before `*`, `?`, `\`, `/` or `}`; neither
 * wildcard goes over the end of a line. POSIX Shell Command Language §2.13.1 without bracket expressions, as BuildKit
 * has it. The time is that of a search for each piece of text, whatever the number of wildcards.
 */
interface ShellPattern {
  /** The pieces between the stars; null is any one character. */
  readonly pieces: readonly (readonly (string | null)[])[];
}

/** Throws a plain Error. */
function compilePattern(pattern: string): ShellPattern {
  const pieces: (string | null)[][] = [[]];
  const characters = Array.from(pattern);
  for (let i = 0; i < characters.length; i++) {
    const c = characters[i]!;
    if (c === '*') {
      pieces.push([]);
      continue;
    }
    let token: string | null = c === '?' ? null : c;
    if (c === '\\') {
      const escaped = characters[++i];
      if (escaped === undefined || !'*?\\/}'.includes(escaped)) throw new Error(`invalid escape '\\${escaped ?? ''}'`);
      token = escaped;
    }
    pieces.at(-1)!.push(token);
  }
  return { pieces };
}

export function removePrefix(value: string, pattern: string, greedy: boolean): string {
  const characters = Array.from(value);
  const end = matchAt(compilePattern(pattern), characters, 0, greedy);
  return end === undefined ? value : characters.slice(end).join('');
}

/** The shortest match at the end is the shortest at the start of the reversed value, so both are reversed. */
export function removeSuffix(value: string, pattern: string, greedy: boolean): string {
  const { pieces } = compilePattern(pattern);
  const reversed = pieces.map((piece) => piece.toReversed()).reverse();
  const characters = Array.from(value).reverse();
  const end = matchAt({ pieces: reversed }, characters, 0, greedy);
  return end === undefined ? value : characters.slice(end).reverse().join('');
}

/** The first match, or all that do not overlap; an empty one right behind another does not count. */
export function replacePattern(value: string, pattern: string, replacement: string, all: boolean): string {
  const compiled = compilePattern(pattern);
  const characters = Array.from(value);
  let out = '';
  let done = 0;
  let last = -1;
  for (let at = 0; at <= characters.length; at++) {
    const end = matchAt(compiled, characters, at, true);
    if (end === undefined) {
      // What a pattern with a star lacks here, it lacks up to the end of the line.
      if (compiled.pieces.length > 1 && matchPiece(compiled.pieces[0]!, characters, at)) at = lineEnd(characters, at);
      continue;
    }
    if (end === at && at === last) continue;
    out += characters.slice(done, at).join('') + replacement;
    done = end;
    last = end;
    if (!all) break;
    if (end > at) at = end - 1;
  }
  return out + characters.slice(done).join('');
}

/** Where the longest (`greedy`) or the shortest match that begins at `from` ends. */
function matchAt({ pieces }: ShellPattern, text: readonly string[], from: number, greedy: boolean): number | undefined {
  const [first, ...rest] = pieces;
  if (!matchPiece(first!, text, from)) return undefined;
  let at = from + first!.length;
  // The earliest place for each piece leaves most to the next.
  for (const [i, piece] of rest.entries()) {
    const found = greedy && i === rest.length - 1 ? findLast(piece, text, at) : findFirst(piece, text, at);
    if (found === undefined) return undefined;
    at = found + piece.length;
  }
  return at;
}

function matchPiece(piece: readonly (string | null)[], text: readonly string[], at: number): boolean {
  if (at + piece.length > text.length) return false;
  return piece.every((c, i) => (c === null ? text[at + i] !== '\n' : text[at + i] === c));
}

function findFirst(piece: readonly (string | null)[], text: readonly string[], from: number): number | undefined {
  for (let at = from; at <= text.length; at++) {
    if (matchPiece(piece, text, at)) return at;
    if (text[at] === '\n') return undefined;
  }
  return undefined;
}

function findLast(piece: readonly (string | null)[], text: readonly string[], from: number): number | undefined {
  for (let at = lineEnd(text, from); at >= from; at--) if (matchPiece(piece, text, at)) return at;
  return undefined;
}

function lineEnd(text: readonly string[], from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}
