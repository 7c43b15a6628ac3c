import { BlockList, isIP } from 'node:net';
import { ImagoError } from '../../core/errors.ts';
import { isLoopback } from './hosts.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL by HTTP_PROXY, HTTPS_PROXY and NO_PROXY (lower case goes first), as Go's programs read them
 * (golang.org/x/net/http/httpproxy): never for loopback; in NO_PROXY `*`, names with all that is below them, addresses,
 * address ranges (10.0.0.0/8), each with an optional port. Throws `BAD_PROXY`.
 */
export function findProxy(url: URL, env: Environment): string | undefined {
  const proxy =
    url.protocol === 'https:' ? env.https_proxy || env.HTTPS_PROXY : env.http_proxy || env.HTTP_PROXY || undefined;
  if (!proxy || isLoopback(url.hostname) || isExempt(url, env.no_proxy || env.NO_PROXY || '')) return undefined;
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
  const { protocol } = URL.parse(address) ?? {};
  if (protocol === 'http:' || protocol === 'https:') return address;
  // Not shown: it may hold a password.
  throw new ImagoError('BAD_PROXY', `the proxy for ${url.host} is not one that can be used`, {
    want: 'http[s]://[USER:PASSWORD@]HOST[:PORT]',
    remedy: 'correct HTTPS_PROXY and HTTP_PROXY',
  });
}

function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((rule) => rule !== '' && matches(rule, host, port));
}

function matches(rule: string, host: string, port: string): boolean {
  if (rule === '*') return true;
  if (rule.includes('/')) return isInRange(host, rule);
  const [, name, wantedPort] = /^(\[[^\]]*\]|[^:]*(?::[^:]*){2,}|[^:]*)(?::(\d+))?$/.exec(rule) ?? [];
  if (name === undefined || (wantedPort !== undefined && wantedPort !== port)) return false;
  const bare = name.replace(/^\[|\]$/g, '').replace(/^\*\./, '.');
  if (isIP(bare) !== 0 || isIP(host) !== 0) return bare === host;
  return bare.startsWith('.') ? host.endsWith(bare) : host === bare || host.endsWith(`.${bare}`);
}

function isInRange(host: string, range: string): boolean {
  const [network, bits] = range.split('/');
  const family = isIP(host);
  if (family === 0 || isIP(network!) !== family || !/^\d{1,3}$/.test(bits ?? '')) return false;
  const length = Number(bits);
  if (length > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network!, length, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, family === 4 ? 'ipv4' : 'ipv6');
}
