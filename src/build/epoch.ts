import { ImagoError } from '../core/errors.ts';

/** The build argument that says the time of everything (reproducible-builds.org/specs/source-date-epoch). */
export const EPOCH_ARG = 'SOURCE_DATE_EPOCH';

/** Seconds since 1970; undefined for ''. Throws `BAD_EPOCH`. */
export function parseEpoch(text: string): Date | undefined {
  if (text === '') return undefined;
  if (isSeconds(text)) return new Date(Number(text) * 1000);
  throw badEpoch(text, 'seconds since 1970');
}

export function formatEpoch(time: Date): string {
  return String(Math.floor(time.getTime() / 1000));
}

export function isSeconds(text: string): boolean {
  return /^\d{1,12}$/.test(text);
}

export function badEpoch(text: string, want: string): ImagoError {
  return new ImagoError('BAD_EPOCH', `invalid ${EPOCH_ARG}: ${text}`, { want });
}
