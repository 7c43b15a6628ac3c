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

/**
 * How long to wait before try number `tried` + 1: what `Retry-After` says (seconds or a date, RFC 9110 §10.2.3), but no
 * longer than the limit, else exponential backoff of which up to a half is left out by chance.
 */
export function retryDelay(tried: number, timing: Timing, retryAfter?: string): number {
  const asked = parseRetryAfter(retryAfter);
  if (asked !== undefined) return Math.min(asked, timing.maxRetryAfterMs);
  const full = Math.min(timing.retryMs * 2 ** (tried - 1), MAX_DELAY);
  return full * (0.5 + Math.random() / 2);
}

function parseRetryAfter(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
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
