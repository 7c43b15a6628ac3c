import { readFileSync, statSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { readWholeFile } from '../system/read-whole.ts';

/** Where a secret's value comes from: a file, a variable of this process, or the caller. */
export type SecretSource = { file: string } | { env: string } | { value: string | Uint8Array };

/** Bytes; BuildKit's (session/secrets/secretsprovider). */
const LIMIT = 500 * 1024;

/**
 * The secrets of a build. Values of files and variables are read when a step asks for them, and kept nowhere; a pipe
 * gives its own but once, and so is read first.
 */
export class BuildSecrets {
  readonly #sources: ReadonlyMap<string, SecretSource>;

  private constructor(sources: ReadonlyMap<string, SecretSource>) {
    this.#sources = sources;
  }

  /** Throws `BAD_SECRET` for a file that is not there, or a value that is too long. */
  static async open(sources: Readonly<Record<string, SecretSource>>, signal?: AbortSignal): Promise<BuildSecrets> {
    const checked = new Map<string, SecretSource>();
    for (const [id, source] of Object.entries(sources)) checked.set(id, await check(id, source, signal));
    return new BuildSecrets(checked);
  }

  /** Undefined where there is no such secret and none is needed. Throws `NO_SECRET`, `BAD_SECRET`. */
  read(id: string, required: boolean): Uint8Array | undefined {
    const source = this.#sources.get(id);
    if (source === undefined) {
      if (!required) return undefined;
      throw new ImagoError('NO_SECRET', `secret ${id}: not found`, {
        remedy: `give it with --secret id=${id},src=FILE or --secret id=${id},env=VARIABLE`,
      });
    }
    if ('value' in source) return bytesOf(source.value);
    if ('env' in source) return Buffer.from(process.env[source.env] ?? '');
    return readSecretFile(id, source.file);
  }
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value;
}

async function check(id: string, source: SecretSource, signal: AbortSignal | undefined): Promise<SecretSource> {
  if (id === '') throw new ImagoError('BAD_SECRET', 'a secret has no ID', { want: 'id=NAME,src=FILE', exitCode: 125 });
  if ('file' in source) return await checkFile(id, source.file, signal);
  if ('value' in source && bytesOf(source.value).length > LIMIT) throw tooLong(id);
  return source;
}

async function checkFile(id: string, path: string, signal: AbortSignal | undefined): Promise<SecretSource> {
  try {
    const stat = statSync(path);
    if (stat.isFile()) {
      if (stat.size > LIMIT) throw tooLong(id);
      return { file: path };
    }
    const value = await readWholeFile(path, { limit: LIMIT, signal });
    if (value === undefined) throw tooLong(id);
    return { value };
  } catch (error) {
    if (error instanceof ImagoError) throw error;
    signal?.throwIfAborted();
    throw unreadable(id, path, error);
  }
}

function readSecretFile(id: string, path: string): Uint8Array {
  let content: Uint8Array;
  try {
    content = readFileSync(path);
  } catch (error) {
    throw unreadable(id, path, error);
  }
  if (content.length > LIMIT) throw tooLong(id);
  return content;
}

function unreadable(id: string, path: string, cause: unknown): ImagoError {
  return new ImagoError('BAD_SECRET', `cannot read the secret ${id}: ${(cause as NodeJS.ErrnoException).code}`, {
    path,
    remedy: `--secret id=${id},src=FILE takes a file, --secret id=${id},env=VARIABLE a variable of yours`,
    cause,
    exitCode: 125,
  });
}

function tooLong(id: string): ImagoError {
  return new ImagoError('BAD_SECRET', `secret ${id} is too big`, { want: `at most ${LIMIT} bytes`, exitCode: 125 });
}
