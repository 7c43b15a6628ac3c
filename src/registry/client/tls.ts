import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { ImagoError } from '../../core/errors.ts';
import type { ClientOptions } from './types.ts';

/** What the directories of a host hold, as PEM. */
export interface HostCertificates {
  authorities: string[];
  /** Client certificates with their keys, in pairs. */
  certificates: string[];
  keys: string[];
}

/**
 * Reads DIR/HOST[:PORT]/ of every certs.d directory, in Docker's and Podman's layout: *.crt are authorities, NAME.cert
 * with NAME.key a client certificate. Throws `BAD_CERTIFICATES`.
 */
export function readHostCertificates(names: readonly string[], options: ClientOptions): HostCertificates {
  const found: HostCertificates = { authorities: [], certificates: [], keys: [] };
  for (const directory of options.certificates ?? defaultDirectories(options)) {
    for (const name of names) readDirectory(join(directory, name), found);
  }
  return found;
}

function defaultDirectories(options: ClientOptions): string[] {
  const env = options.environment ?? process.env;
  const config = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  return [
    '/etc/imago/certs.d',
    '/etc/containers/certs.d',
    '/etc/docker/certs.d',
    join(config, 'imago/certs.d'),
    join(config, 'containers/certs.d'),
    join(config, 'docker/certs.d'),
  ];
}

function readDirectory(path: string, found: HostCertificates): void {
  let names: string[];
  try {
    names = readdirSync(path).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return;
    throw badCertificates(path, 'cannot be read', error);
  }
  const read = (name: string): string => {
    try {
      return readFileSync(join(path, name), 'utf8');
    } catch (error) {
      throw badCertificates(join(path, name), 'cannot be read', error);
    }
  };
  for (const name of names) {
    if (name.endsWith('.crt')) found.authorities.push(read(name));
    else if (name.endsWith('.cert')) {
      const key = name.replace(/\.cert$/, '.key');
      if (!names.includes(key)) {
        // Docker's words.
        const hint = 'CA certificates must use the extension .crt';
        throw badCertificates(join(path, name), `missing key ${key} for client certificate ${name}`, undefined, hint);
      }
      found.certificates.push(read(name));
      found.keys.push(read(key));
    } else if (name.endsWith('.key') && !names.includes(name.replace(/\.key$/, '.cert'))) {
      const certificate = name.replace(/\.key$/, '.cert');
      throw badCertificates(join(path, name), `missing client certificate ${certificate} for key ${name}`);
    }
  }
}

/**
 * The TLS settings of a host. Node's own authorities (with $NODE_EXTRA_CA_CERTS) are there at once; the machine's take
 * 80 ms to read, so they come in (`withSystem`) when a certificate is not trusted without them.
 */
export function makeSecureContext(found: HostCertificates, withSystem: boolean): SecureContext {
  const authorities = [...found.authorities];
  if (withSystem || authorities.length > 0) authorities.push(...getCACertificates('default'));
  if (withSystem) authorities.push(...getCACertificates('system'));
  try {
    return createSecureContext({
      ...(authorities.length > 0 ? { ca: [...new Set(authorities)] } : {}),
      ...(found.keys.length > 0 ? { cert: found.certificates, key: found.keys } : {}),
    });
  } catch (error) {
    throw badCertificates('certs.d', 'the certificates of the host cannot be used', error);
  }
}

/** Nobody vouches for the certificate, so far: the machine's authorities may. */
export function wantsSystemAuthorities(error: unknown): boolean {
  return UNTRUSTED.has(String((error as NodeJS.ErrnoException).code));
}

const UNTRUSTED = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
]);

/** The code and words for a failed handshake; undefined where the error is about something else. */
export function describeTlsError(
  error: NodeJS.ErrnoException,
  host: string,
): { code: string; summary: string; remedy: string } | undefined {
  const code = error.code ?? '';
  const or = `or use --insecure where the network can be trusted`;
  if (UNTRUSTED.has(code)) {
    const own = code === 'DEPTH_ZERO_SELF_SIGNED_CERT' ? 'is signed by itself' : 'is signed by an unknown authority';
    return {
      code: 'TLS_UNTRUSTED',
      summary: `the certificate of ${host} ${own}`,
      remedy: `put the CA's certificate into /etc/imago/certs.d/${host}/ca.crt, ${or}`,
    };
  }
  if (code === 'CERT_HAS_EXPIRED') {
    return {
      code: 'TLS_EXPIRED',
      summary: `the certificate of ${host} has expired`,
      remedy: `check this machine's clock; if it is right, the certificate must be renewed, ${or}`,
    };
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return {
      code: 'TLS_NOT_YET_VALID',
      summary: `the certificate of ${host} is not valid yet`,
      remedy: "check this machine's clock",
    };
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return {
      code: 'TLS_WRONG_HOST',
      summary: `the certificate is not for ${host}`,
      remedy: `use the name that the certificate is for, ${or}`,
    };
  }
  if (isPlainHttpAnswer(error)) {
    return {
      code: 'TLS_FAILED',
      // Docker's words.
      summary: `http: server gave HTTP response to HTTPS client (${host})`,
      remedy: 'use --insecure, or set "insecure" for it in registries.json, where the network can be trusted',
    };
  }
  if (code === 'EPROTO' || /^ERR_(SSL|TLS)_|^CERT_|^UNABLE_TO_|^CRL_/.test(code)) {
    const words = /:(?:SSL routines|[^:]*routines)[^:]*:[^:]*:([^:]+):/.exec(error.message)?.[1] ?? code;
    return {
      code: 'TLS_FAILED',
      summary: `no TLS connection with ${host}: ${words}`,
      remedy: 'where it asks for a client certificate, put client.cert and client.key into its certs.d directory',
    };
  }
  return undefined;
}

/** A server without TLS answered to our hello. */
export function isPlainHttpAnswer(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ERR_SSL_WRONG_VERSION_NUMBER' || (code === 'EPROTO' && /wrong version number/i.test(message));
}

function badCertificates(path: string, what: string, cause?: unknown, remedy?: string): ImagoError {
  const got = cause instanceof Error ? cause.message : undefined;
  return new ImagoError('BAD_CERTIFICATES', `${path}: ${what}`, { path, got, remedy, cause });
}
