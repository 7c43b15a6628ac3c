import { sleep } from '../../system/sleep.ts';
import { discardBody } from './body.ts';
import { describeBreak, type RequestContext } from './errors.ts';
import type { Arrival } from './redirect.ts';
import { isTransientStatus, type Refused, retryDelay, triesFor } from './retry.ts';
import type { Session } from './session.ts';
import { showText, showUrl } from './shown-url.ts';
import { wantsSystemAuthorities } from './tls.ts';

interface AttemptRules {
  /** At most; 1 for what cannot be sent twice. */
  tries: number;
  /** Statuses that are answers even where they would be worth another try. */
  answers: readonly number[];
  signal: AbortSignal | undefined;
  /** For the error and for the event. */
  context: () => RequestContext;
}

/** Does it again after a pause, while it fails in a way that may pass. Throws typed errors. */
export async function withRetries(
  { options, timing, connections }: Session,
  { tries, answers, signal, context }: AttemptRules,
  once: () => Promise<Arrival>,
): Promise<Arrival> {
  for (let tried = 1; ; tried++) {
    const { generation } = connections;
    let reason: string;
    let refused: Refused | undefined;
    try {
      const arrival = await once();
      const { statusCode: status, statusMessage, headers } = arrival.response;
      if (!isTransientStatus(status!) || answers.includes(status!) || tried >= tries) return arrival;
      reason = showText(`${status} ${statusMessage}`);
      refused = { retryAfter: headers['retry-after'], date: headers.date };
      await discardBody(arrival.response);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (wantsSystemAuthorities(error) && connections.addSystemAuthorities(generation)) {
        tried--;
        continue;
      }
      if (tried >= Math.min(tries, triesFor(error, timing))) throw describeBreak(error, context());
      reason = showText((error as Error).message, context().secrets);
    }
    const delayMs = Math.round(retryDelay(tried, timing, refused));
    options.onRetry?.({ url: showUrl(context().url), attempt: tried + 1, delayMs, reason });
    await sleep(delayMs, signal);
  }
}
