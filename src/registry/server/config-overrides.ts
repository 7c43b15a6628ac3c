import { ImagoError } from '../../core/errors.ts';
import { parseServeConfig, readServeConfig, type ServeConfig } from './config.ts';

/** What stands on a command line: it wins over the config file. Same words, read by the same rules. */
export interface ServeFlags {
  config?: string;
  address?: string;
  storage?: string;
  proxy?: string;
  tlsCert?: string;
  tlsKey?: string;
  htpasswd?: string;
  logFormat?: string;
  metricsAddress?: string;
  gcInterval?: string;
  readOnly?: boolean;
  anonymousPull?: boolean;
}

/** The config file with the flags over it. Throws `BAD_CONFIG`. */
export function composeServeConfig(flags: ServeFlags, cwd: string): ServeConfig {
  const config = readServeConfig(flags.config);
  const own = readFlags(flags, cwd);
  if (flags.address !== undefined) config.address = own.address;
  if (flags.storage !== undefined) config.storage = own.storage;
  if (own.tls !== undefined) config.tls = { ...config.tls, ...own.tls };
  if (flags.proxy !== undefined) config.proxy = { ...own.proxy!, ...config.proxy, url: own.proxy!.url };
  if (own.auth !== undefined) {
    const { htpasswd, anonymousPull } = own.auth;
    config.auth = config.auth ?? own.auth;
    if (htpasswd !== undefined) config.auth.htpasswd = htpasswd;
    if (anonymousPull.length > 0) config.auth.anonymousPull = anonymousPull;
  }
  if (flags.logFormat !== undefined) config.log.format = own.log.format;
  if (flags.metricsAddress !== undefined) config.metrics = own.metrics;
  if (flags.gcInterval !== undefined) config.gc.interval = own.gc.interval;
  config.readOnly ||= own.readOnly;
  return config;
}

/** Flags as the file that they would be. */
function readFlags(flags: ServeFlags, cwd: string): ServeConfig {
  const { tlsCert, tlsKey, htpasswd } = flags;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new ImagoError('BAD_CONFIG', '--tls-cert and --tls-key go together');
  }
  const source = {
    address: flags.address,
    storage: flags.storage,
    readOnly: flags.readOnly,
    tls: tlsCert === undefined ? undefined : { cert: tlsCert, key: tlsKey },
    proxy: flags.proxy === undefined ? undefined : { url: flags.proxy },
    auth: htpasswd === undefined && !flags.anonymousPull ? undefined : { htpasswd, anonymousPull: flags.anonymousPull },
    log: { format: flags.logFormat },
    metrics: { address: flags.metricsAddress },
    gc: { interval: flags.gcInterval },
  };
  // JSON is YAML.
  return parseServeConfig(JSON.stringify(source), undefined, cwd);
}
