import { constants } from 'node:os';
import { ImagoError } from '../core/errors.ts';

const numbers: Record<string, number> = constants.signals;

/** 'SIGTERM', 'TERM', '15', 'SIGRTMIN+3' → its number. Throws `BAD_SIGNAL`. */
export function parseSignal(text: string): number {
  if (/^[0-9]+$/.test(text)) {
    const number = Number(text);
    if (number > 0 && number <= 64) return number;
  }
  const upper = text.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  // glibc's numbers of the real-time signals, as Docker's.
  const realTime = /^SIGRT(MIN|MAX)(?:([+-])([0-9]+))?$/.exec(name);
  if (realTime !== null) {
    const number = (realTime[1] === 'MIN' ? 34 : 64) + (realTime[2] === '-' ? -1 : 1) * Number(realTime[3] ?? 0);
    if (number >= 34 && number <= 64) return number;
  }
  const number = numbers[name];
  if (number !== undefined) return number;
  throw new ImagoError('BAD_SIGNAL', `Invalid signal: ${text}`, {
    want: "a name or number of 'kill -l'",
    exitCode: 125,
  });
}

/** What a foreground client passes on to the container: everything that can be caught and is not about itself. */
export const FORWARDED_SIGNALS: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
];
