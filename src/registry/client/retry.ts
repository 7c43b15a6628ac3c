import { isImagoError } from '../../core/errors.ts';
import type { ClientOptions, Timing } from './types.ts';

const MAX_DELAY = 10_000;

export function resolveTiming(options: ClientOptions): Timing {
  const env = options.environment ?? process.env;
  const stall = Number(env.IMAGO_STALL_TIMEOUT);
  return {
    stallMs: stall > 0 ? stall : 60_000,
    connectMs: 15_000,
    retryMs: 500,
    maxRetryAfterMs: 60_000,
    tries: 5,
    ...options.timing,
  };
}

/** The headers of a refusal that say when to come again: `Retry-After`, and the `Date` that it counts from. */
export interface Refused {
  retryAfter: string | undefined;
  date: string | undefined;
}

/**
 * How long to wait before try number `tried` + 1: exponential backoff of which up to a half is left out by chance, and
 * longer where `Retry-After` says so, with up to `retryMs` more, since others were told the same time; all up to the limit.
 */
export function retryDelay(tried: number, timing: Timing, refused?: Refused): number {
  const backoff = Math.min(timing.retryMs * 2 ** (tried - 1), MAX_DELAY) * (0.5 + Math.random() / 2);
  const asked = refused === undefined ? undefined : parseRetryAfter(refused);
  if (asked === undefined || asked < backoff) return backoff;
  return Math.min(asked + Math.random() * timing.retryMs, timing.maxRetryAfterMs);
}

/** RFC 9110 §10.2.3: seconds, or a date. A date is by the registry's clock, which may be another than ours. */
function parseRetryAfter({ retryAfter, date }: Refused): number | undefined {
  if (retryAfter === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(retryAfter)) return Number(retryAfter) * 1000;
  const at = Date.parse(retryAfter);
  const now = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isNaN(at) ? undefined : at - (Number.isNaN(now) ? Date.now() : now);
}

/** Too busy, or broken for the moment. 501 and 505 stay what they are. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

/** How often an error is worth trying again: a host that is not there is given up sooner than a broken connection. */
export function triesFor(error: unknown, timing: Timing): number {
  if (isImagoError(error)) return error.code === 'STALLED' ? timing.tries : 1;
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  if (code === 'ECONNREFUSED' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'EAI_AGAIN')
    return Math.min(3, timing.tries);
  if (code === 'ERR_PROXY_TUNNEL') return Math.min(2, timing.tries);
  if (/^(?:ECONNRESET|EPIPE|ECONNABORTED|ETIMEDOUT|ERR_STREAM_PREMATURE_CLOSE)$/.test(code)) return timing.tries;
  // llhttp's errors: what came was no HTTP, or was cut off in the middle.
  return code === 'HPE_INVALID_EOF_STATE' ? timing.tries : 1;
}
