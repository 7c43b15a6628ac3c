import { type ErrorDetails, ImagoError } from '../../core/errors.ts';

/** What is wrong with an archive, at a byte offset in it. */
export function tarError(code: string, summary: string, offset: number, details: ErrorDetails = {}): ImagoError {
  return new ImagoError(code, summary, {
    op: 'read tar',
    offset,
    remedy: 'the archive is damaged, or was cut short: get it again from where it came',
    ...details,
  });
}
