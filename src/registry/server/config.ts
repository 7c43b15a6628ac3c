import { dirname, resolve } from 'node:path';
import { DEFAULT_LIMITS, type Limits } from './options.ts';
import type { Rule } from './rules.ts';
import { readSettingsFile } from './settings-file.ts';
import {
  bytes,
  checked,
  count,
  dictionary,
  duration,
  flag,
  list,
  object,
  oneOf,
  optional,
  parseBytes,
  parseDuration,
  type Reader,
  readYaml,
  text,
  withDefault,
} from './settings-reader.ts';

/** How long and how slowly clients may take. Milliseconds, but `bodyRate`. */
export interface Patience {
  /** From the connection's (or the last answer's) end to the end of a request's headers. */
  headers: number;
  /** Without a byte in either direction. */
  idle: number;
  /** An idle connection between two requests. */
  keepAlive: number;
  /** Bytes a second that a body must bring, over any `bodyGrace`. 0 asks for nothing. */
  bodyRate: number;
  bodyGrace: number;
}

export interface TlsSettings {
  cert: string;
  key: string;
  /** Clients must show a certificate that one of these CAs signed. */
  clientCa: string | undefined;
  minVersion: 'TLSv1.2' | 'TLSv1.3';
}

export interface AuthSettings {
  htpasswd: string | undefined;
  /** Globs of repositories that anybody may pull from. */
  anonymousPull: string[];
  groups: Record<string, string[]>;
  rules: Rule[] | undefined;
  service: string;
  /** Own tokens, for users of the htpasswd file and for anonymous pulls. */
  tokens: { keyFile: string | undefined; lifetime: number } | undefined;
  /** Tokens of a server elsewhere. */
  jwt:
    | { realm: string; issuer: string; service: string | undefined; jwks: string | undefined; keys: string[] }
    | undefined;
}

export interface ProxySettings {
  url: string;
  username: string | undefined;
  passwordFile: string | undefined;
  /** Milliseconds for which a tag is answered without asking upstream. */
  ttl: number;
  /** Milliseconds for which a manifest stays that nobody asks for; 0 is forever. */
  keep: number;
  /** Bytes. */
  size: number | undefined;
  insecure: boolean;
  /** A directory on a disk that blobs go through. */
  spool: string;
}

/** Everything that `imago registry serve` can be told. docs/registry.md explains each. Times in milliseconds. */
export interface ServeConfig {
  address: string;
  /** As clients see it, where that is another than the address. */
  url: string | undefined;
  /** A directory or `s3://bucket/prefix`. */
  storage: string | undefined;
  readOnly: boolean;
  deletes: boolean;
  /** What a manifest may name that the repository does not have. */
  sparse: 'nothing' | 'children' | 'everything';
  /** Mounts without a source; undefined: where everybody may do everything. */
  automaticMounts: boolean | undefined;
  tls: TlsSettings | undefined;
  auth: AuthSettings | undefined;
  proxy: ProxySettings | undefined;
  limits: Limits & { connections: number };
  timeouts: Patience;
  metrics: { enabled: boolean; address: string | undefined };
  log: { format: 'text' | 'json'; requests: boolean };
  gc: { interval: number | undefined; grace: number; uploads: number; deleteUntagged: boolean };
  shutdown: { delay: number; timeout: number };
}

const HOUR = 3_600_000;

const address: Reader<string> = checked(text, (value) =>
  parseAddress(value) === undefined ? 'must be HOST:PORT, such as 127.0.0.1:5000 or [::]:5000' : undefined,
);
const webUrl: Reader<string> = checked(text, (value) => {
  const url = URL.parse(value);
  if (url === null || !/^https?:$/.test(url.protocol)) return 'must be a URL with http:// or https://';
  if (url.username !== '' || url.password !== '') return 'must not have a user name or a password in it';
  return undefined;
});
const glob: Reader<string> = checked(text, (value) =>
  /^[a-z0-9._/*-]+$/.test(value) ? undefined : 'must be a repository name, where * and ** stand for anything',
);
const service: Reader<string> = checked(text, (value) =>
  /^[\x21\x23-\x5b\x5d-\x7e ]{1,255}$/.test(value) ? undefined : 'must be plain ASCII without quotes',
);
const GLOBS = list(glob);
/** `true` is everything. */
const anonymousPull: Reader<string[]> = (node, at) => {
  const value = (node as { value?: unknown } | undefined)?.value;
  if (value === true) return ['**'];
  return value === false ? [] : GLOBS(node, at);
};

/** Paths are relative to the file that they stand in. */
function settings(base: string): Reader<ServeConfig> {
  const path: Reader<string> = (node, at) => resolve(base, text(node, at));
  const rule = object<Rule>({
    users: list(text),
    groups: list(text),
    repositories: withDefault(GLOBS, ['**']),
    actions: checked(list(oneOf('pull', 'push', 'delete', 'catalog')), (actions) =>
      actions.length === 0 ? 'must say what is allowed: pull, push, delete, catalog' : undefined,
    ),
  });
  return object<ServeConfig>({
    address: withDefault(address, '127.0.0.1:5000'),
    url: optional(webUrl),
    storage: optional((node, at) => {
      const value = text(node, at);
      return /^[a-z0-9]+:\/\//.test(value) ? value : resolve(base, value);
    }),
    readOnly: withDefault(flag, false),
    deletes: withDefault(flag, true),
    sparse: withDefault(oneOf('nothing', 'children', 'everything'), 'children'),
    automaticMounts: optional(flag),
    tls: optional(
      object<TlsSettings>({
        cert: path,
        key: path,
        clientCa: optional(path),
        minVersion: withDefault(oneOf('TLSv1.2', 'TLSv1.3'), 'TLSv1.2'),
      }),
    ),
    auth: optional(
      checked(
        object<AuthSettings>({
          htpasswd: optional(path),
          anonymousPull: anonymousPull,
          groups: dictionary(list(text)),
          rules: optional(list(rule)),
          service: withDefault(service, 'imago-registry'),
          tokens: optional(
            object({ keyFile: optional(path), lifetime: withDefault(durationBetween('10s', '24h'), 300_000) }),
          ),
          jwt: optional(
            checked(
              object({
                realm: webUrl,
                issuer: text,
                service: optional(service),
                jwks: optional(path),
                keys: checked(list(path), (keys) => (keys.length > 16 ? 'has more than 16 keys' : undefined)),
              }),
              ({ jwks, keys }) =>
                jwks === undefined && keys.length === 0
                  ? 'needs the keys of the token server: jwks or keys'
                  : undefined,
            ),
          ),
        }),
        checkAuth,
      ),
    ),
    proxy: optional(
      checked(
        object<ProxySettings>({
          url: webUrl,
          username: optional(text),
          passwordFile: optional(path),
          ttl: withDefault(duration, 300_000),
          keep: withDefault(duration, 7 * 24 * HOUR),
          size: optional(checked(bytes, (value) => (value === 0 ? 'must be above 0' : undefined))),
          insecure: withDefault(flag, false),
          spool: withDefault(path, '/var/tmp'),
        }),
        ({ username, passwordFile }) =>
          (username === undefined) === (passwordFile === undefined)
            ? undefined
            : 'needs username and passwordFile together',
      ),
    ),
    limits: object<ServeConfig['limits']>({
      manifestBytes: between(withDefault(bytes, DEFAULT_LIMITS.manifestBytes), parseBytes, ['1B', '4MiB']),
      blobBytes: withDefault(bytes, DEFAULT_LIMITS.blobBytes),
      openUploadsPerRepository: withDefault(count, DEFAULT_LIMITS.openUploadsPerRepository),
      openUploads: withDefault(count, DEFAULT_LIMITS.openUploads),
      tagsPerPush: withDefault(count, DEFAULT_LIMITS.tagsPerPush),
      referencesPerManifest: withDefault(count, DEFAULT_LIMITS.referencesPerManifest),
      pageEntries: withDefault(count, DEFAULT_LIMITS.pageEntries),
      manifestCacheBytes: withDefault(bytes, DEFAULT_LIMITS.manifestCacheBytes),
      connections: withDefault(count, 10_000),
    }),
    timeouts: object<Patience>({
      headers: withDefault(durationBetween('100ms', '1h'), 20_000),
      idle: withDefault(durationBetween('100ms', '24h'), 120_000),
      keepAlive: withDefault(durationBetween('100ms', '1h'), 75_000),
      bodyRate: withDefault(bytes, 1024),
      bodyGrace: withDefault(durationBetween('100ms', '1h'), 30_000),
    }),
    metrics: object({ enabled: withDefault(flag, true), address: optional(address) }),
    log: object({ format: withDefault(oneOf('text', 'json'), 'json'), requests: withDefault(flag, true) }),
    gc: object({
      interval: optional(durationBetween('1m', '366d')),
      grace: withDefault(duration, 24 * HOUR),
      uploads: withDefault(duration, 7 * 24 * HOUR),
      deleteUntagged: withDefault(flag, false),
    }),
    shutdown: object({ delay: withDefault(duration, 0), timeout: withDefault(duration, 60_000) }),
  });
}

/** Reads a config file; without one, what holds by default. Throws `UNREADABLE_FILE`, and `BAD_CONFIG` with file, line and column. */
export function readServeConfig(path?: string): ServeConfig {
  if (path === undefined) return parseServeConfig('', 'defaults', '/');
  return parseServeConfig(readSettingsFile(path), path, dirname(resolve(path)));
}

/** `base` is what relative paths are relative to; `name` is undefined for what is no file, but comes from flags. */
export function parseServeConfig(source: string, name: string | undefined, base: string): ServeConfig {
  return readYaml(source, name, settings(base));
}

/** HOST:PORT, with an IPv6 host in brackets; no host is all of them. Undefined where it is none. */
export function parseAddress(text: string): { host: string | undefined; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]*)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65_535) return undefined;
  return { host: match[1] ?? (match[2] || undefined), port: Number(match[3]) };
}

function checkAuth({ htpasswd, anonymousPull, groups, rules, tokens, jwt }: AuthSettings): string | undefined {
  if (htpasswd === undefined && jwt === undefined && anonymousPull.length === 0) {
    return 'lets nobody in: name an htpasswd file, a token server (jwt) or anonymousPull';
  }
  if (tokens !== undefined && jwt !== undefined) return 'has two givers of tokens: keep tokens (our own) or jwt';
  for (const rule of rules ?? []) {
    if (rule.users.length === 0 && rule.groups.length === 0) return 'has a rule for nobody: name users or groups';
    const unknown = rule.groups.find((group) => !Object.hasOwn(groups, group));
    if (unknown !== undefined) return `has a rule for the group '${unknown}', which groups does not name`;
  }
  return undefined;
}

/** The bounds as they may be written. */
function between(
  read: Reader<number>,
  parse: (text: string) => number | undefined,
  [least, most]: readonly [least: string, most: string],
): Reader<number> {
  const [low, high] = [parse(least)!, parse(most)!];
  return checked(read, (value) => (value < low || value > high ? `must be from ${least} to ${most}` : undefined));
}

function durationBetween(least: string, most: string): Reader<number> {
  return between(duration, parseDuration, [least, most]);
}
