import { readFileSync, statSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';

/** Where a secret's value comes from: a file, a variable of this process, or the caller. */
export type SecretSource = { file: string } | { env: string } | { value: string | Uint8Array };

/** Bytes; BuildKit's (session/secrets/secretsprovider). */
const LIMIT = 500 * 1024;

/** The secrets of a build. Values are read when a step asks for them, and kept nowhere. */
export class BuildSecrets {
  readonly #sources: ReadonlyMap<string, SecretSource>;

  /** Throws `BAD_SECRET` for a file that is not there, or a value that is too long. */
  constructor(sources: Readonly<Record<string, SecretSource>>) {
    this.#sources = new Map(Object.entries(sources));
    for (const [id, source] of this.#sources) check(id, source);
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

function check(id: string, source: SecretSource): void {
  if (id === '') throw new ImagoError('BAD_SECRET', 'a secret has no ID', { want: 'id=NAME,src=FILE', exitCode: 125 });
  const size = 'value' in source ? bytesOf(source.value).length : 'file' in source ? sizeOf(id, source.file) : 0;
  if (size > LIMIT) throw tooLong(id);
}

function sizeOf(id: string, path: string): number {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    return stat.size;
  } catch (error) {
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
