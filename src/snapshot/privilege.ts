import { ImagoError } from '../core/errors.ts';

/** Throws `NEEDS_ROOT` for anybody but root. `what` completes "Only root can …". */
export function needRoot(what: string): void {
  if (process.geteuid?.() === 0) return;
  throw new ImagoError('NEEDS_ROOT', `only root can ${what}`, {
    op: 'mount',
    remedy: "run it with sudo; without root, 'images', 'inspect', 'history', 'diff', 'save' and 'verify' work",
    exitCode: 125,
  });
}
