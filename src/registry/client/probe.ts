import type { IncomingMessage } from 'node:http';
import { isImagoError } from '../../core/errors.ts';
import { discardBody } from './body.ts';
import { exchange } from './exchange.ts';
import type { Host } from './hosts.ts';
import type { Session } from './session.ts';
import { describeTlsError, isPlainHttpAnswer } from './tls.ts';

/** Until a host that may speak either has said which it speaks. */
const PROBE_MS = 5000;

/**
 * The root URL of a host. Where the scheme is not known, TLS is tried first and plain HTTP after it, as Docker does
 * with loopback and insecure registries; `onAnswer` gets the answer to `/v2/` if one was asked for.
 */
export async function findScheme(
  host: Host,
  session: Session,
  onAnswer: (answer: IncomingMessage) => Promise<void>,
): Promise<URL> {
  if (host.scheme !== undefined) return new URL(`${host.scheme}://${host.authority}/`);
  const ping = async (scheme: string): Promise<URL> => {
    const base = new URL(`${scheme}://${host.authority}/`);
    const answer = await exchange({
      method: 'GET',
      url: new URL('/v2/', base),
      headers: { 'Accept-Encoding': 'identity' },
      agent: session.connections.agent(base, host.insecure),
      timing: {
        ...session.timing,
        stallMs: Math.min(PROBE_MS, session.timing.stallMs),
        connectMs: Math.min(PROBE_MS, session.timing.connectMs),
      },
      signal: session.options.signal,
    });
    try {
      await onAnswer(answer);
    } finally {
      await discardBody(answer);
    }
    return base;
  };
  try {
    return await ping('https');
  } catch (error) {
    if (isPlainHttpAnswer(error)) return new URL(`http://${host.authority}/`);
    const { code } = error as NodeJS.ErrnoException;
    const hasPort = /:\d+$/.test(host.authority);
    const refused = code === 'ECONNREFUSED' && hasPort;
    const certificate = describeTlsError(error as NodeJS.ErrnoException, host.authority) !== undefined;
    const typed = isImagoError(error) && error.code !== 'STALLED';
    if (refused || certificate || typed || code === 'ENOTFOUND' || code === 'EAI_AGAIN') throw error;
    return await ping('http').catch(() => {
      throw error;
    });
  }
}
