import { ImagoError } from '../core/errors.ts';
import { splitFields } from '../formats/dockerfile/mount.ts';

export const TRUE: ReadonlySet<string> = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
export const FALSE: ReadonlySet<string> = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/** CSV, as buildx's flags are. Throws `code`. */
export function fieldsOf(text: string, code: string, what: string): string[] {
  try {
    return splitFields(text);
  } catch (cause) {
    throw new ImagoError(code, `the value of ${what} is not CSV`, { want: 'key=value,…', got: text, cause });
  }
}

/** The key in lower case, the value, and the key as it is written. */
export function cut(field: string, code: string, what: string): [key: string, value: string, written: string] {
  const equals = field.indexOf('=');
  const written = field.slice(0, Math.max(equals, 0));
  if (equals > 0) return [written.trim().toLowerCase(), field.slice(equals + 1), written];
  throw new ImagoError(code, `invalid value of ${what}`, { want: 'key=value', got: field, exitCode: 125 });
}

export function boolean(key: string, value: string): boolean {
  if (TRUE.has(value)) return true;
  if (FALSE.has(value)) return false;
  throw bad(`non-boolean value of ${key}`, 'true or false', value);
}

export function bad(summary: string, want: string, got: string | undefined): ImagoError {
  return new ImagoError('BAD_OUTPUT', summary, { want, got, exitCode: 125 });
}
