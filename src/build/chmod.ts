import { ImagoError } from '../core/errors.ts';

const WHO: Record<string, number> = { u: 0o4700, g: 0o2070, o: 0o0007, a: 0o7777 };

/**
 * `--chmod`: octal, or symbolic as chmod(1) (`u=rwX,go=rX`, `+x`; without a who it is everybody).
 * Throws `BAD_CHMOD`.
 */
export function parseChmod(text: string): (mode: number, directory: boolean) => number {
  if (/^[0-7]+$/.test(text)) {
    const value = Number.parseInt(text, 8);
    if (value > 0o7777) throw badChmod(text);
    return () => value;
  }
  const clauses = text.split(',').map((clause) => {
    const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause);
    if (match === null) throw badChmod(text);
    const who = [...(match[1] || 'a')].reduce((mask, c) => mask | WHO[c]!, 0);
    const actions = [...match[2]!.matchAll(/([-+=])([rwxXstugo]*)/g)].map(([, operator, what]) => ({
      operator: operator!,
      what: what!,
    }));
    return { who, actions };
  });
  return (mode, directory) => {
    let out = mode;
    for (const { who, actions } of clauses) {
      for (const { operator, what } of actions)
        out = apply(out, who, operator, permissions(what, out, directory) & who, directory);
    }
    return out;
  };
}

function apply(mode: number, who: number, operator: string, bits: number, directory: boolean): number {
  if (operator === '+') return mode | bits;
  if (operator === '-') return mode & ~bits;
  // As GNU chmod: '=' leaves a directory's set-ID bits alone.
  const cleared = who & (directory ? 0o1777 : 0o7777);
  return (mode & ~cleared) | bits;
}

/** The letters' bits for everybody; the clause's who is applied after. */
function permissions(what: string, mode: number, directory: boolean): number {
  let bits = 0;
  for (const letter of what) {
    if (letter === 'r') bits |= 0o444;
    else if (letter === 'w') bits |= 0o222;
    else if (letter === 'x') bits |= 0o111;
    else if (letter === 'X') bits |= directory || (mode & 0o111) !== 0 ? 0o111 : 0;
    else if (letter === 's') bits |= 0o6000;
    else if (letter === 't') bits |= 0o1000;
    else {
      const shift = { u: 6, g: 3, o: 0 }[letter as 'u' | 'g' | 'o'];
      const own = (mode >> shift) & 7;
      bits |= (own << 6) | (own << 3) | own;
    }
  }
  return bits;
}

function badChmod(text: string): ImagoError {
  return new ImagoError('BAD_CHMOD', `invalid --chmod parameter: ${JSON.stringify(text)}`, {
    want: 'octal between 0 and 07777, or symbolic as u=rwX,go=rX',
  });
}
