import { ImagoError } from '../../core/errors.ts';

export interface S3Location {
  bucket: string;
  /** Before every key: empty, or ends with '/'. */
  prefix: string;
  endpoint: string | undefined;
  region: string | undefined;
  /** The bucket in the path of the URL instead of in the host name. */
  pathStyle: boolean;
}

const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$/;
const PREFIX = /^(?:[A-Za-z0-9._=+-]+\/)*$/;
/** S3 has 1024 bytes for a key; ours are up to 800. */
const MAX_PREFIX = 200;
const OPTIONS = ['endpoint', 'region', 'path-style'];

/**
 * Reads `s3://bucket/prefix?endpoint=URL&region=NAME&path-style=true|false`. Path style is the default where there is an
 * endpoint. Throws `STORAGE_BAD_URL`; its message never has user names or keys that were put into the URL.
 */
export function parseS3Url(text: string): S3Location {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return fail('it is not a URL');
  }
  if (url.username !== '' || url.password !== '') {
    return fail('keys do not belong into it: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  }
  if (!BUCKET.test(url.hostname)) return fail('the bucket has no valid name');
  const prefix = url.pathname.replace(/^\/+|\/+$/g, '').replace(/(.)$/, '$1/');
  if (!PREFIX.test(prefix) || prefix.length > MAX_PREFIX) return fail('the prefix is too long or has odd characters');
  const unknown = [...url.searchParams.keys()].find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) return fail(`it has an unknown option; there are ${OPTIONS.join(', ')}`);
  const endpoint = parseEndpoint(url.searchParams.get('endpoint'));
  const style = url.searchParams.get('path-style') ?? String(endpoint !== undefined);
  if (style !== 'true' && style !== 'false') return fail('path-style is true or false');
  const region = url.searchParams.get('region') ?? undefined;
  return { bucket: url.hostname, prefix, endpoint, region, pathStyle: style === 'true' };
}

function parseEndpoint(text: string | null): string | undefined {
  if (text === null) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url !== undefined && url.username === '' && url.password === '' && url.search === '';
  if (!plain || !['http:', 'https:'].includes(url.protocol))
    return fail('the endpoint is not a plain http or https URL');
  return text;
}

function fail(reason: string): never {
  throw new ImagoError('STORAGE_BAD_URL', `not a place for the registry's storage: ${reason}`, {
    want: 's3://bucket/prefix?endpoint=URL&region=NAME',
  });
}
