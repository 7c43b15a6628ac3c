import { chownSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ImagoError } from '../../core/errors.ts';
import { replaceFile } from '../../system/atomic.ts';
import { makeDirectories } from '../../system/directories.ts';
import { tryLockFile } from '../../system/lock.ts';
import { DOCKER_HUB } from './hosts.ts';
import type { ClientOptions, Credentials } from './types.ts';

/** A config.json of Docker's, or an auth.json of Podman's: all its members, also those that mean nothing to us. */
export type DockerConfig = Record<string, unknown>;

const MAX_FILE = 4 * 1024 * 1024;
const MAX_LOCK_WAIT_MS = 2000;
const LOCK_STEP_MS = 5;
const HUB_KEY = 'https://index.docker.io/v1/';
/** What other programs called the same place. */
const HUB_NAMES: readonly string[] = [DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io'];

export function dockerConfigPath(options: ClientOptions): string {
  const env = options.environment ?? process.env;
  if (options.dockerConfig) return options.dockerConfig;
  return join(env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker'), 'config.json');
}

/** Podman's files, read where Docker's has nothing. */
export function fallbackConfigPaths(options: ClientOptions): string[] {
  const env = options.environment ?? process.env;
  if (env.REGISTRY_AUTH_FILE) return [env.REGISTRY_AUTH_FILE];
  const config = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  const runtime = env.XDG_RUNTIME_DIR
    ? join(env.XDG_RUNTIME_DIR, 'containers')
    : `/run/containers/${process.getuid?.()}`;
  return [join(runtime, 'auth.json'), join(config, 'containers/auth.json')];
}

/** The key of a registry in `auths`, `credHelpers` and credential helpers. */
export function authKey(registry: string): string {
  return registry === DOCKER_HUB ? HUB_KEY : registry;
}

/** Empty where there is no such file. Throws `BAD_DOCKER_CONFIG`. */
export function readDockerConfig(path: string): DockerConfig {
  let text: string;
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return {};
    if (!stat.isFile() || stat.size > MAX_FILE) throw badConfig(path, `no file of at most ${MAX_FILE} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw error instanceof ImagoError ? error : badConfig(path, (error as Error).message, error);
  }
  if (text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message would quote the file, which holds passwords.
    throw badConfig(path, 'no JSON');
  }
  if (!isObject(value)) throw badConfig(path, 'no JSON object');
  return value;
}

/** Changes a config.json as a whole, keeping what it holds otherwise; mode 0600, as it may hold passwords. */
export function updateDockerConfig(path: string, change: (config: DockerConfig) => void): void {
  try {
    makeDirectories(dirname(path), 0o700);
    using _ = lockDirectory(dirname(path));
    const config = readDockerConfig(path);
    change(config);
    const before = statSync(path, { throwIfNoEntry: false });
    // A symbolic link stays one.
    const target = before === undefined ? path : realpathSync(path);
    replaceFile(target, `${JSON.stringify(config, undefined, '\t')}\n`, { mode: 0o600 });
    // `sudo` with the user's HOME: the file stays the user's.
    if (before !== undefined && process.getuid?.() === 0 && before.uid !== 0) chownSync(target, before.uid, before.gid);
  } catch (cause) {
    if (cause instanceof ImagoError) throw cause;
    throw new ImagoError('DOCKER_CONFIG_UNWRITABLE', `cannot write ${path}`, {
      got: (cause as Error).message,
      remedy: 'name another directory in DOCKER_CONFIG',
      cause,
    });
  }
}

/** Another login may be writing. Who holds the lock for long is not waited for: the file is replaced whole anyhow. */
function lockDirectory(path: string): Disposable | undefined {
  for (let waited = 0; waited < MAX_LOCK_WAIT_MS; waited += LOCK_STEP_MS) {
    const lock = tryLockFile(path, 'exclusive');
    if (lock !== undefined) return lock;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_STEP_MS);
  }
  return undefined;
}

/** The helper program's suffix for a registry: of `credHelpers`, else `credsStore`. */
export function findHelper(config: DockerConfig, registry: string): string | undefined {
  const helpers = isObject(config.credHelpers) ? config.credHelpers : {};
  const own = namesOf(registry).map((name) => (Object.hasOwn(helpers, name) ? helpers[name] : undefined));
  const name = own.find((value) => value !== undefined) ?? config.credsStore;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** What `auths` has for a registry. */
export function readAuth(config: DockerConfig, registry: string): Credentials | undefined {
  for (const [, entry] of listAuths(config, registry)) {
    if (!isObject(entry)) continue;
    const credentials = parseAuth(entry);
    if (credentials !== undefined) return credentials;
  }
  return undefined;
}

/** Writes an entry of `auths`; without credentials an empty one, which says that a helper has them. */
export function setAuth(config: DockerConfig, registry: string, credentials: Credentials | undefined): void {
  deleteAuth(config, registry);
  if (!isObject(config.auths)) config.auths = {};
  const entry: Record<string, string> = {};
  if (credentials !== undefined) {
    const { username, password, identityToken } = credentials;
    const secret = identityToken === undefined ? password : '';
    entry.auth = Buffer.from(`${username}:${secret}`).toString('base64');
    if (identityToken !== undefined) entry.identitytoken = identityToken;
  }
  (config.auths as Record<string, unknown>)[authKey(registry)] = entry;
}

/** False where there was none. */
export function deleteAuth(config: DockerConfig, registry: string): boolean {
  const keys = listAuths(config, registry).map(([key]) => key);
  for (const key of keys) delete (config.auths as Record<string, unknown>)[key];
  return keys.length > 0;
}

/** Entries for a registry, the exact key first; old ones have a scheme and a path. */
function listAuths(config: DockerConfig, registry: string): [string, unknown][] {
  if (!isObject(config.auths)) return [];
  const names = namesOf(registry);
  const found = Object.entries(config.auths).filter(
    ([key]) => names.includes(key) || (isHostKey(key) && names.includes(hostOf(key))),
  );
  return found.sort(([a], [b]) => rank(a, names) - rank(b, names));
}

function rank(key: string, names: readonly string[]): number {
  const at = names.indexOf(key);
  return at < 0 ? names.length : at;
}

function namesOf(registry: string): string[] {
  return registry === DOCKER_HUB ? [HUB_KEY, ...HUB_NAMES] : [registry];
}

/** `quay.io/organisation` is Podman's key of a part of a registry, and no other name of the whole. */
function isHostKey(key: string): boolean {
  return /^https?:\/\//.test(key) || !key.replace(/\/+$/, '').includes('/') || /\/v[12]\/?$/.test(key);
}

function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
}

function parseAuth(entry: Record<string, unknown>): Credentials | undefined {
  const text = (name: string): string => (typeof entry[name] === 'string' ? (entry[name] as string) : '');
  const decoded = Buffer.from(text('auth'), 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  const username = colon > 0 ? decoded.slice(0, colon) : text('username');
  const password = colon > 0 ? decoded.slice(colon + 1).replace(/\0+$/, '') : text('password');
  const identityToken = text('identitytoken') || undefined;
  const token = text('registrytoken');
  // It is put into a header as it is.
  const registryToken = /^[\x21-\x7e]+$/.test(token) ? token : undefined;
  if (username === '' && identityToken === undefined && registryToken === undefined) return undefined;
  return { username, password, identityToken, registryToken };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function badConfig(path: string, got: string, cause?: unknown): ImagoError {
  return new ImagoError('BAD_DOCKER_CONFIG', `${path} cannot be read`, {
    got,
    remedy: "repair it, or name another directory in DOCKER_CONFIG and 'imago login' again",
    cause,
  });
}
