/**
 * Patterns of `${x#…}`, `${x%…}` and `${x/…/…}`: `*` and `?`, and `\` before `*`, `?`, `\`, `/` or `}`.
 * POSIX Shell Command Language §2.13.1 without bracket expressions, as BuildKit has it.
 */
function compilePattern(pattern: string, greedy: boolean, anchored: boolean): RegExp {
  let out = anchored ? '^' : '';
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    if (c === '*') out += greedy ? '.*' : '.*?';
    else if (c === '?') out += '.';
    else if (c === '\\') {
      const escaped = pattern[++i];
      if (escaped === undefined || !'*?\\/}'.includes(escaped)) throw new Error(`invalid escape '\\${escaped ?? ''}'`);
      out += `\\${escaped}`;
    } else out += /[[\]{}.+()|^$/]/.test(c) ? `\\${c}` : c;
  }
  return new RegExp(out, anchored ? 'u' : 'gu');
}

export function removePrefix(value: string, pattern: string, greedy: boolean): string {
  const match = compilePattern(pattern, greedy, true).exec(value);
  return match === null ? value : value.slice(match[0].length);
}

/** The shortest match at the end is the shortest at the start of the reversed value, so both are reversed. */
export function removeSuffix(value: string, pattern: string, greedy: boolean): string {
  return reverse(removePrefix(reverse(value), reversePattern(pattern), greedy));
}

export function replacePattern(value: string, pattern: string, replacement: string, all: boolean): string {
  const regexp = compilePattern(pattern, true, false);
  let done = false;
  return value.replace(regexp, (match) => {
    if (done && !all) return match;
    done = true;
    return replacement;
  });
}

function reverse(text: string): string {
  return [...text].reverse().join('');
}

/** Reversed, with each escape still before its character: `a\*c` → `c\*a`. */
function reversePattern(pattern: string): string {
  const parts = pattern.match(/\\?[\s\S]/gu) ?? [];
  return parts.reverse().join('');
}
