import { spawn } from 'node:child_process';
import { ImagoError } from '../../core/errors.ts';
import { showText } from './shown-url.ts';
import type { Credentials } from './types.ts';

type Action = 'get' | 'store' | 'erase';

/** A helper may ask its user for a pass phrase meanwhile. */
const TIME_LIMIT_MS = 60_000;
const MAX_OUTPUT = 1024 * 1024;
/** Stands for the user's name where the secret is an identity token: docker-credential-helpers. */
const TOKEN_USER = '<token>';
/** What helpers print, with exit status 1, where they have nothing: docker-credential-helpers v0.9, error.go. */
const NOT_FOUND = 'credentials not found in native keychain';

interface HelperSettings {
  environment?: Readonly<Record<string, string | undefined>>;
  timeLimitMs?: number;
}

/** Asks docker-credential-NAME; undefined where it has nothing. Throws `CREDENTIAL_HELPER_*`. */
export async function getFromHelper(
  name: string,
  server: string,
  settings: HelperSettings = {},
): Promise<Credentials | undefined> {
  const { status, output, complaint } = await runHelper(name, 'get', server, settings);
  if (status !== 0) {
    if (output.trim() === NOT_FOUND) return undefined;
    throw helperFailed(name, 'get', output.trim() || complaint, []);
  }
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw helperFailed(name, 'get', 'its output is no JSON', []);
  }
  const { Username: username, Secret: secret } = (value ?? {}) as Record<string, unknown>;
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw helperFailed(name, 'get', 'its output has no Username and Secret', []);
  }
  if (username === '' && secret === '') return undefined;
  return username === TOKEN_USER ? { username, password: '', identityToken: secret } : { username, password: secret };
}

export async function storeInHelper(
  name: string,
  server: string,
  credentials: Credentials,
  settings: HelperSettings = {},
): Promise<void> {
  const { username, password, identityToken } = credentials;
  const entry = {
    ServerURL: server,
    Username: identityToken === undefined ? username : TOKEN_USER,
    Secret: identityToken ?? password,
  };
  const { status, output, complaint } = await runHelper(name, 'store', JSON.stringify(entry), settings);
  if (status !== 0) throw helperFailed(name, 'store', output.trim() || complaint, [entry.Secret]);
}

/** Nothing happens where it has nothing. */
export async function eraseFromHelper(name: string, server: string, settings: HelperSettings = {}): Promise<void> {
  const { status, output, complaint } = await runHelper(name, 'erase', server, settings);
  if (status !== 0 && output.trim() !== NOT_FOUND) throw helperFailed(name, 'erase', output.trim() || complaint, []);
}

interface HelperEnd {
  status: number;
  output: string;
  complaint: string;
}

async function runHelper(name: string, action: Action, input: string, settings: HelperSettings): Promise<HelperEnd> {
  // It becomes a program's name: no path may be made of it.
  if (!/^[\w][\w.-]*$/.test(name)) {
    throw new ImagoError('CREDENTIAL_HELPER_MISSING', 'a credential helper with such a name cannot be', {
      got: JSON.stringify(name.slice(0, 100)),
      remedy: 'correct credsStore and credHelpers in config.json',
    });
  }
  const env = settings.environment ?? process.env;
  const child = spawn(`docker-credential-${name}`, [action], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const { promise, resolve, reject } = Promise.withResolvers<HelperEnd>();
  const timeLimit = settings.timeLimitMs ?? TIME_LIMIT_MS;
  let output = '';
  let complaint = '';
  const give = (error: ImagoError): void => {
    child.kill('SIGKILL');
    // Children of the helper may still hold the pipes.
    child.stdout.destroy();
    child.stderr.destroy();
    reject(error);
  };
  const timer = setTimeout(
    () => give(helperFailed(name, action, `no answer within ${timeLimit / 1000} s`, [])),
    timeLimit,
  );
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output.length > MAX_OUTPUT) give(helperFailed(name, action, 'endless output', []));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-4096);
  });
  child.on('error', (error: NodeJS.ErrnoException) => {
    const missing = error.code === 'ENOENT' || error.code === 'EACCES';
    reject(missing ? helperMissing(name, error) : helperFailed(name, action, error.message, []));
  });
  child.on('close', (code) => resolve({ status: code ?? 1, output, complaint }));
  // A helper that does not read ends with a status of its own.
  child.stdin.on('error', () => {});
  child.stdin.end(`${input}\n`);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

function helperMissing(name: string, cause: Error): ImagoError {
  return new ImagoError('CREDENTIAL_HELPER_MISSING', `docker-credential-${name} not found`, {
    remedy: `install it, or take '${name}' out of credsStore and credHelpers in config.json`,
    cause,
  });
}

function helperFailed(name: string, action: Action, got: string, secrets: readonly string[]): ImagoError {
  return new ImagoError('CREDENTIAL_HELPER_FAILED', `docker-credential-${name} ${action} failed`, {
    got: showText(got, secrets) || 'no word of why',
    remedy: `try it by hand, or take '${name}' out of credsStore and credHelpers in config.json`,
  });
}
