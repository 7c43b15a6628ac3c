import { ImagoError } from '../../core/errors.ts';

/** A parsed `--chmod`. */
export interface Chmod {
  /** The new permission bits of a file or directory that is copied. */
  apply(mode: number, directory: boolean): number;
  /** Those of directories that are made on the way; as BuildKit, a symbolic mode says nothing of them. */
  readonly created: number;
}

const WHO: Record<string, number> = { u: 0o4700, g: 0o2070, o: 0o0007, a: 0o6777 };
const CREATED = 0o755;

/**
 * `--chmod`: octal, or symbolic as chmod(1) of BSD, which is BuildKit's (`u=rwX,go=rX`, `+x`; without a who it is
 * everybody). Throws `BAD_CHMOD`.
 */
export function parseChmod(text: string): Chmod {
  if (/^[0-9]/.test(text)) {
    const value = /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
    if (!(value <= 0o7777)) throw badChmod(text);
    return { apply: () => value, created: value & 0o777 };
  }
  const clauses = text.split(',').map((clause) => {
    const match = /^([ugoa]*)((?:[-+=][rwxXstugo]*)+)$/.exec(clause);
    if (match === null) throw badChmod(text);
    const who = [...(match[1] || 'a')].reduce((mask, c) => mask | WHO[c]!, 0);
    const actions = [...match[2]!.matchAll(/([-+=])([rwxXstugo]*)/g)].map(([, operator, what]) => ({
      operator: operator!,
      what: what!,
    }));
    return { who, actions };
  });
  const apply = (mode: number, directory: boolean): number => {
    let out = mode;
    for (const { who, actions } of clauses) {
      for (const { operator, what } of actions) {
        const bits = permissions(what, { now: out, before: mode, directory, removes: operator === '-' });
        // The sticky bit belongs to nobody: only a `t` reaches it, and not one for others alone.
        const mask = what.includes('t') && who !== WHO.o ? who | 0o1000 : who;
        if (operator === '+') out |= bits & mask;
        else if (operator === '-') out &= ~(bits & mask);
        else out = (out & ~mask) | (bits & mask);
      }
    }
    return out;
  };
  return { apply, created: CREATED };
}

/** The letters' bits for everybody; the clause's who is applied after. */
function permissions(
  what: string,
  { now, before, directory, removes }: { now: number; before: number; directory: boolean; removes: boolean },
): number {
  let bits = 0;
  for (const letter of what) {
    if (letter === 'r') bits |= 0o444;
    else if (letter === 'w') bits |= 0o222;
    else if (letter === 'x') bits |= 0o111;
    else if (letter === 'X') bits |= removes || directory || (before & 0o111) !== 0 ? 0o111 : 0;
    else if (letter === 's') bits |= 0o6000;
    else if (letter === 't') bits |= 0o1000;
    else {
      const shift = { u: 6, g: 3, o: 0 }[letter as 'u' | 'g' | 'o'];
      const own = (now >> shift) & 7;
      bits |= (own << 6) | (own << 3) | own;
    }
  }
  return bits;
}

function badChmod(text: string): ImagoError {
  return new ImagoError('BAD_CHMOD', `invalid chmod parameter: '${text}'`, {
    want: 'an octal string between 0 and 07777, or a symbolic mode as u=rwX,go=rX',
  });
}
