import { shortId } from '../core/digest.ts';

/** An ID as Docker prints it: its first 12 hex digits, or in full with --no-trunc. */
export function shownId(id: string, full: boolean): string {
  return full ? id : shortId(id);
}

/** Text cut to a width (in code points), with '…' where something is missing. */
export function ellipsis(text: string, width: number): string {
  const points = Array.from(text);
  return points.length <= width ? text : `${points.slice(0, width - 1).join('')}…`;
}
