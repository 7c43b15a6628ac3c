import { STATUS_CODES } from 'node:http';
import { type ErrorDetails, ImagoError } from '../../core/errors.ts';
import { familiarName, parseReference } from '../../oci/reference.ts';
import { parseErrors, WIRE_ERRORS } from '../wire/errors.ts';
import { showText, showUrl } from './shown-url.ts';
import { describeTlsError } from './tls.ts';

/** What a request was about, for its errors. */
export interface RequestContext {
  method: string;
  url: URL;
  registry: string;
  /** The request of the user that this one is made for: a token is asked for because of it. */
  about?: { method: string; url: URL; scopes?: readonly string[] };
  /** What the request takes. */
  scopes?: readonly string[];
  /** As the user calls it, where the caller said so. */
  reference?: string;
  /** A proxy is in between: who does not answer may be the proxy. */
  proxied?: boolean;
  /** Credentials are being tried out: a refusal is about them. */
  login?: boolean;
  /** What was sent and must not be shown, should the other end repeat it. */
  secrets: readonly string[];
}

/** How much of an error's body is read. */
export const MAX_ERROR_BODY: number = 64 * 1024;

const MAX_PAGE = 8192;
const NO_CONNECTION: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
const KNOWN_CODES: ReadonlySet<string> = new Set(Object.values(WIRE_ERRORS).map(({ code }) => code));

/** The error of an answer whose status is none that the caller takes, with the registry's own words. */
export function describeAnswer(status: number, body: Uint8Array, context: RequestContext): ImagoError {
  const said = wordsOf(body, context.secrets);
  const details: ErrorDetails = {
    ref: referenceOf(context),
    got: `${status} ${STATUS_CODES[status] ?? ''}`.trim(),
    path: `${context.method} ${showUrl(context.url)}`,
  };
  const error = (code: string, summary: string, remedy?: string): ImagoError =>
    new ImagoError(code, summary, { ...details, remedy });
  const { ref } = details;
  if (status === 401 || status === 403) {
    const code = status === 401 ? 'UNAUTHORIZED' : 'DENIED';
    return error(code, refusal(context, said.text || WIRE_ERRORS.denied.message), loginRemedy(context));
  }
  if (status === 429) {
    const text = said.text || 'too many requests';
    return error('TOO_MANY_REQUESTS', `${context.registry}: ${text}`, 'try again later, or log in for a higher limit');
  }
  const code = KNOWN_CODES.has(said.code) ? said.code : status === 404 ? 'NOT_FOUND' : 'REGISTRY_ERROR';
  const unnamed = code === 'NOT_FOUND' || code === 'NAME_UNKNOWN';
  if (code === 'MANIFEST_UNKNOWN' || (unnamed && manifestOf(context.url) !== undefined)) {
    // Docker's words.
    return error('MANIFEST_UNKNOWN', `manifest for ${ref} not found: ${said.text || 'manifest unknown'}`);
  }
  return error(code, `${ref}: ${said.text || `${context.registry} answered with an error`}`);
}

/** The typed error for what Node says of a connection; errors that are typed already come back as they are. */
export function describeBreak(error: unknown, context: RequestContext): unknown {
  if (error instanceof ImagoError || !(error instanceof Error) || !('code' in error)) return error;
  const { host } = context.url;
  const path = `${context.method} ${showUrl(context.url)}`;
  const details: ErrorDetails = { ref: referenceOf(context), path, cause: error };
  const make = (code: string, summary: string, remedy: string): ImagoError =>
    new ImagoError(code, summary, { ...details, remedy });
  const tls = describeTlsError(error as NodeJS.ErrnoException, host);
  if (tls !== undefined) return make(tls.code, tls.summary, tls.remedy);
  if (context.proxied && NO_CONNECTION.has(String(error.code))) {
    return make(
      'PROXY_FAILED',
      `the proxy does not answer (${error.code})`,
      'check HTTPS_PROXY, HTTP_PROXY and NO_PROXY',
    );
  }
  switch (error.code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return make('REGISTRY_UNREACHABLE', `no such host: ${host}`, 'check the name, and the network and its DNS');
    case 'ECONNREFUSED':
      return make('REGISTRY_UNREACHABLE', `${host}: connection refused`, 'check that the registry runs there');
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return make('REGISTRY_UNREACHABLE', `${host} does not answer (${error.code})`, 'check the name and the network');
    case 'ERR_PROXY_TUNNEL':
      return make('PROXY_FAILED', `the proxy refuses a connection with ${host}`, 'check HTTPS_PROXY and NO_PROXY');
    case 'ECONNRESET':
    case 'ECONNABORTED':
    case 'EPIPE':
    case 'ERR_STREAM_PREMATURE_CLOSE':
    case 'HPE_INVALID_EOF_STATE':
      return make('CONNECTION_BROKEN', `${host} broke the connection`, 'check the network and try again');
  }
  if (String(error.code).startsWith('HPE_')) {
    return make('BAD_ANSWER', `${host} does not answer in HTTP (${error.code})`, 'check that a registry runs there');
  }
  return error;
}

/** The registry's own words, in one line: of its list of errors, or of whatever came. */
function wordsOf(body: Uint8Array, secrets: readonly string[]): { code: string; text: string } {
  const errors = parseErrors(body);
  if (errors.length > 0) {
    const lines = errors.slice(0, 3).map(({ code, message }) => {
      const words = code.toLowerCase().replaceAll('_', ' ');
      return message === '' || message.toLowerCase() === words ? words : `${words}: ${message}`;
    });
    return { code: errors[0]!.code, text: showText(lines.join('; '), secrets) };
  }
  // Bounded, as the patterns below look again from every '<'.
  const text = Buffer.from(body.subarray(0, MAX_PAGE)).toString('utf8');
  const title = /<title[^>]*>([^<]*)</i.exec(text)?.[1];
  const plain = (
    title ?? text.replace(/<(script|style)\b[^>]{0,1000}>[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]{0,1000}>/g, ' ')
  ).trim();
  return { code: '', text: showText(plain, secrets, 200) };
}

/** What is read by who may not; in Docker's words, which people look for. */
function refusal(context: RequestContext, said: string): string {
  const repository = repositoryOf(context);
  const { method, scopes = [] } = context.about ?? context;
  // A push asks with its own rights what is there already.
  const pulls = (method === 'GET' || method === 'HEAD') && !scopes.some((scope) => scope.endsWith(',push'));
  if (repository === undefined) return `${context.registry}: ${said}`;
  const words = /^denied|^unauthorized/.test(said) ? said : `denied: ${said}`;
  if (!pulls) return `${repository}: ${words}`;
  return `pull access denied for ${repository}, repository does not exist or may require 'imago login': ${words}`;
}

function loginRemedy(context: RequestContext): string {
  if (context.login) return 'check the user name and the password; with a second factor, an access token is wanted';
  return `log in with 'imago login${context.registry === 'docker.io' ? '' : ` ${context.registry}`}' as somebody who may`;
}

function pathOf(url: URL): RegExpExecArray | null {
  return /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/(.*)$/.exec(url.pathname);
}

function manifestOf(url: URL): string | undefined {
  const match = pathOf(url);
  return match?.[2] === 'manifests' ? match[3] : undefined;
}

/** The repository as Docker would print it. */
function repositoryOf(context: RequestContext): string | undefined {
  const name = pathOf((context.about ?? context).url)?.[1];
  if (name === undefined) return undefined;
  try {
    return familiarName(parseReference(`${context.registry}/${name}`));
  } catch {
    return showText(`${context.registry}/${name}`);
  }
}

function referenceOf(context: RequestContext): string {
  if (context.reference !== undefined) return context.reference;
  const repository = repositoryOf(context);
  if (repository === undefined) return context.registry;
  const [, , kind, last] = pathOf((context.about ?? context).url)!;
  if (kind === 'tags' || last === undefined || last.startsWith('uploads/')) return repository;
  return showText(last.includes(':') ? `${repository}@${last}` : `${repository}:${last}`);
}
