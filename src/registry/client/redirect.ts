import type { IncomingMessage } from 'node:http';
import { ImagoError } from '../../core/errors.ts';
import { discardBody } from './body.ts';
import { mayBePlain } from './hosts.ts';
import { showText, showUrl } from './shown-url.ts';

/** An answer, and where it came from after all redirects. */
export interface Arrival {
  response: IncomingMessage;
  url: URL;
  /** It came from where the request was sent first, without any other host in between. */
  home: boolean;
}

interface RedirectRules {
  method: string;
  /** Plain HTTP is taken from anywhere. */
  insecure: boolean;
  /** Redirects that are the caller's own business. */
  answers: readonly number[];
  /** Other hosts may be asked, without credentials. Default: true. */
  abroad?: boolean;
}

const MAX_REDIRECTS = 10;

/**
 * Sends a request and goes where it is sent on: 307 and 308 as it is, 301, 302 and 303 for GET and HEAD only. `send`
 * learns whether it is still at home, which means that it may show its credentials. Throws `BAD_REDIRECT` for circles,
 * long chains, other schemes, and from TLS to none.
 */
export async function followRedirects(
  first: URL,
  rules: RedirectRules,
  send: (url: URL, home: boolean) => Promise<IncomingMessage>,
): Promise<Arrival> {
  const seen = new Set<string>();
  let url = first;
  let home = true;
  for (;;) {
    if (seen.has(url.href)) throw badRedirect(first, 'redirects in a circle');
    if (seen.size > MAX_REDIRECTS) throw badRedirect(first, `more than ${MAX_REDIRECTS} redirects`);
    seen.add(url.href);
    const response = await send(url, home);
    if (!isRedirect(response.statusCode!, rules)) return { response, url, home };
    const { location } = response.headers;
    await discardBody(response);
    url = resolveLocation(location, url, rules);
    home &&= url.origin === first.origin;
    if (!home && rules.abroad === false)
      throw badRedirect(first, `a redirect to ${url.host}, which gets no credentials`);
  }
}

/** Where a Location header leads. Throws `BAD_REDIRECT`. */
export function resolveLocation(location: string | undefined, from: URL, rules: { insecure: boolean }): URL {
  const url = location === undefined ? null : URL.parse(location, from);
  if (url === null) throw badRedirect(from, `a Location that is none: ${showText(location ?? 'missing', [], 100)}`);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw badRedirect(from, `a redirect to another scheme (${showText(url.protocol, [], 40)})`);
  }
  if (from.protocol === 'https:' && url.protocol === 'http:' && !mayBePlain(url, rules.insecure)) {
    throw badRedirect(from, `a redirect from TLS to plain HTTP (${showUrl(url)})`);
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  return url;
}

function isRedirect(status: number, { method, answers }: RedirectRules): boolean {
  if (answers.includes(status)) return false;
  if (status === 307 || status === 308) return true;
  return (status === 301 || status === 302 || status === 303) && (method === 'GET' || method === 'HEAD');
}

function badRedirect(url: URL, what: string): ImagoError {
  return new ImagoError('BAD_REDIRECT', `${url.host} is not to be followed: ${what}`, {
    path: showUrl(url),
    remedy: 'the registry, or a proxy before it, is set up wrongly',
  });
}
