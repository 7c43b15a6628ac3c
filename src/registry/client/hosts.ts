import { ImagoError } from '../../core/errors.ts';
import { readRegistrySettings } from './registries.ts';
import type { ClientOptions } from './types.ts';

/** Where a registry's API is: its own host, or a mirror's. */
export interface Host {
  /** What credentials and certificates are kept under: docker.io, localhost:5000. */
  name: string;
  /** HOST[:PORT] to connect to. */
  authority: string;
  /** Undefined where only trying tells. */
  scheme: 'https' | 'http' | undefined;
  /** Plain HTTP and unknown certificates are taken. */
  insecure: boolean;
  /** Stands before the repository's name, without slashes at its ends; '' for none. */
  prefix: string;
  mirror: boolean;
}

export const DOCKER_HUB = 'docker.io';
/** Scheme, HOST[:PORT], path. */
const LOCATION = /^(?:(https?):\/\/)?((?:\[[\da-fA-F:.]+\]|[^/?#@\s:[\]]+)(?::\d+)?)(?:\/([^?#\s]*))?$/;
const DOCKER_HUB_API = 'registry-1.docker.io';

/** The hosts of a registry in the order in which pulls try them: mirrors, then its own. Throws `BAD_REGISTRY`. */
export function listHosts(registry: string, options: ClientOptions): Host[] {
  const settings = readRegistrySettings(registry, options);
  const mirrors = settings.mirrors.map(({ location, insecure }) =>
    hostAt(location, insecure || options.insecure === true, true),
  );
  return [...mirrors, hostAt(registry, settings.insecure || options.insecure === true, false)];
}

/** localhost, names below it, 127.0.0.0/8 and ::1: what Docker takes for secure without TLS. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || /^127(?:\.\d{1,3}){3}$/.test(name) || name === '::1';
}

/** Plain HTTP may carry credentials there: nobody is in between, or the user said so. */
export function mayBePlain(url: URL, insecure: boolean): boolean {
  return insecure || isLoopback(url.hostname);
}

function hostAt(location: string, insecure: boolean, mirror: boolean): Host {
  const match = LOCATION.exec(location);
  const url = match === null ? undefined : URL.parse(`https://${match[2]}/`);
  if (!match || !url || url.pathname !== '/' || (!mirror && (match[1] ?? match[3]) !== undefined)) {
    throw badRegistry(location, mirror ? '[http[s]://]HOST[:PORT][/PREFIX]' : 'HOST[:PORT]');
  }
  const name = match[2]!;
  const prefix = (match[3] ?? '').replace(/^v2(?:\/|$)|\/+$/g, '');
  const plain = insecure || isLoopback(url.hostname);
  // An explicit http:// is a word of the user's own, as good as `insecure`.
  const scheme = (match[1] as 'http' | 'https' | undefined) ?? (plain ? schemeOfPort(name) : 'https');
  return {
    name,
    authority: name === DOCKER_HUB ? DOCKER_HUB_API : name,
    scheme,
    insecure: insecure || scheme === 'http',
    prefix,
    mirror,
  };
}

/** Somebody may have put a password before the host: it is not repeated. */
export function badRegistry(text: string, want: string): ImagoError {
  const shown = text.slice(0, 200).replace(/[^/]*@/, '***@');
  return new ImagoError('BAD_REGISTRY', `not a registry: ${JSON.stringify(shown)}`, { want });
}

function schemeOfPort(authority: string): 'http' | 'https' | undefined {
  const port = /:(\d+)$/.exec(authority)?.[1];
  return port === '443' ? 'https' : port === '80' ? 'http' : undefined;
}
