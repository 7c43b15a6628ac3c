import { ImagoError, isImagoError } from '../../core/errors.ts';
import { sleep } from '../../system/sleep.ts';
import { parseLink } from '../wire/link.ts';
import { type Refused, retryDelay } from './retry.ts';
import type { RegistryRequest, RegistryResponse, RetryEvent, Timing, Transport } from './types.ts';

/** One repository on one registry, and how to get at it. */
export interface Place {
  transport: Transport;
  /** `docker.io/library/debian`. */
  name: string;
  /** `library/debian`. */
  path: string;
  timing: Timing;
  onRetry?: (event: RetryEvent) => void;
}

/** Distribution token scopes. The actions are what Docker's clients ask for. */
export function scopesFor(place: Place, access: 'pull' | 'push' | 'delete'): string[] {
  const actions = { pull: 'pull', push: 'pull,push', delete: 'pull,delete' }[access];
  return [`repository:${place.path}:${actions}`];
}

/** A header's one value, trimmed; undefined where it is missing or empty. */
export function headerOf(response: RegistryResponse, name: string): string | undefined {
  const value = response.headers[name];
  const text = (Array.isArray(value) ? value[0] : value)?.trim();
  return text === '' ? undefined : text;
}

/** Content-Length where it is a number. */
export function contentLength(response: RegistryResponse): number | undefined {
  const text = headerOf(response, 'content-length');
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** `application/json` of `application/json; charset=utf-8`. */
export function contentType(response: RegistryResponse): string | undefined {
  return headerOf(response, 'content-type')?.split(';')[0]?.trim().toLowerCase();
}

/** Done with an answer. Its connection can be used again where there is no body, or one that says it is short. */
export function discard(response: RegistryResponse, method?: 'HEAD'): void {
  response.body.on('error', () => {});
  const length = method === 'HEAD' ? 0 : contentLength(response);
  if (response.status === 204 || (length !== undefined && length <= 64 * 1024)) response.body.resume();
  else response.body.destroy();
}

/** A registry's answer that no registry should give. */
export function badResponse(
  place: Place,
  response: RegistryResponse,
  summary: string,
  details: { want?: string | number; got?: string | number } = {},
): ImagoError {
  return new ImagoError('BAD_RESPONSE', `${place.transport.registry} ${summary}`, {
    ref: place.name,
    path: response.url,
    ...details,
    remedy: 'this is a fault of the registry or of a proxy before it',
  });
}

/**
 * The next page's target below `path`, from the Link header; undefined on the last page. Only the link's query is
 * used, and a link to another host is refused: credentials and requests stay with this registry.
 */
export function nextPage(place: Place, response: RegistryResponse, path: string): string | undefined {
  const header = headerOf(response, 'link');
  const link =
    header === undefined ? undefined : parseLink(header).find(({ rel }) => rel.split(/\s+/).includes('next'));
  if (link === undefined) return undefined;
  const base = new URL(response.url);
  if (!URL.canParse(link.url, base.href)) throw badResponse(place, response, 'sent a bad link to the next page');
  const url = new URL(link.url, base);
  if (url.host !== base.host) {
    throw badResponse(place, response, 'sent a link to another host for the next page', {
      want: base.host,
      got: url.host.slice(0, 200),
    });
  }
  return `${path}${url.search}`;
}

/**
 * An answer and its body, of up to `limit` bytes (`RESPONSE_TOO_LARGE`). Where the connection breaks in the body's middle
 * the whole is asked for again, as often as the transport tries. `wanted` sees the head first: it throws, or says that
 * the body is not to be read.
 */
export async function requestWhole(
  place: Place,
  request: RegistryRequest,
  limit: number,
  wanted: (response: RegistryResponse) => boolean = () => true,
): Promise<{ response: RegistryResponse; bytes: Buffer | undefined }> {
  for (let failures = 1; ; failures++) {
    const response = await place.transport.request(request);
    let read = false;
    try {
      read = wanted(response);
    } finally {
      if (!read) discard(response);
    }
    if (!read) return { response, bytes: undefined };
    try {
      return { response, bytes: await place.transport.read(response, limit) };
    } catch (error) {
      const broken = isImagoError(error, 'CONNECTION_BROKEN') || isImagoError(error, 'STALLED');
      if (!broken || failures >= place.timing.tries) throw error;
      await pauseBeforeRetry(place, { failures, url: response.url, reason: reasonOf(error) }, request.signal);
    }
  }
}

/** Waits before the next try after `failures` in a row, as the transport does between its own. */
export async function pauseBeforeRetry(
  place: Place,
  trouble: { failures: number; url: string; reason: string; refused?: Refused },
  signal?: AbortSignal,
): Promise<void> {
  const { failures, url, reason, refused } = trouble;
  const delayMs = Math.round(retryDelay(failures, place.timing, refused));
  place.onRetry?.({ url, attempt: failures, delayMs, reason });
  await sleep(delayMs, signal);
}

/** What an error says for a retry event and a message: no stack, one line, no remedy. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const line = error.message.split('\n')[0] ?? error.name;
  const remedy = error instanceof ImagoError ? error.details.remedy : undefined;
  return remedy !== undefined && line.endsWith(`: ${remedy}`) ? line.slice(0, -remedy.length - 2) : line;
}
