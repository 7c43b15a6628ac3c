import { ImagoError } from '../core/errors.ts';
import { familiarName, familiarReference, formatReference, type Reference, repositoryName } from './reference.ts';

/**
 * Whether a pattern of `images --filter reference=` means this reference: it must match the whole name, with or
 * without its tag, in the short form or in full (distribution/reference FamiliarMatch). Throws `BAD_PATTERN`.
 */
export function compileReferencePattern(pattern: string): (reference: Reference) => boolean {
  const regexp = globToRegExp(pattern);
  return (reference) =>
    regexp.test(familiarReference(reference)) ||
    regexp.test(familiarName(reference)) ||
    regexp.test(formatReference(reference)) ||
    regexp.test(repositoryName(reference));
}

/** Go's path.Match: `*` and `?` stop at '/', `[a-z]`, `[^a-z]`, `\` takes the next character as it is. */
function globToRegExp(pattern: string): RegExp {
  let out = '';
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    if (c === '*') out += '[^/]*';
    else if (c === '?') out += '[^/]';
    else if (c === '[') {
      const end = pattern.indexOf(']', i + 2);
      if (end < 0) throw badPattern(pattern);
      const body = pattern.slice(i + 1, end).replace(/[\\[]/g, '\\$&');
      out += `[${body}]`;
      i = end;
    } else if (c === '\\') {
      const next = pattern[++i];
      if (next === undefined) throw badPattern(pattern);
      out += escapeLiteral(next);
    } else out += escapeLiteral(c);
  }
  try {
    return new RegExp(`^${out}$`);
  } catch {
    throw badPattern(pattern);
  }
}

function escapeLiteral(c: string): string {
  return c.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

function badPattern(pattern: string): ImagoError {
  return new ImagoError('BAD_PATTERN', 'syntax error in pattern', { got: JSON.stringify(pattern) });
}
