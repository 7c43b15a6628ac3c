import { ImagoError } from '../../core/errors.ts';
import { formatPlatform, type Platform, parsePlatform } from '../../oci/platform.ts';
import { familiarReference, parseReference } from '../../oci/reference.ts';
import { hideCredentials, parseGitUrl } from '../../system/git-url.ts';

/** What `--build-context name=VALUE` stands for. */
export type NamedContext =
  | { kind: 'scratch' }
  /** `docker-image://REF`, or `oci-layout://…`, which only `BaseImages` knows to read. */
  | { kind: 'image'; reference: string }
  /** A directory, a git or an http URL, opened when it is first asked for. */
  | { kind: 'files'; name: string; place: string };

/** Names that always mean the same (BuildKit, dockerfile2llb `namedContextFunc`). */
const RESERVED = new Set(['scratch', 'context']);

export const OCI_LAYOUT = 'oci-layout://';

/**
 * The named contexts of a build. A name is an image's name in any of its forms, or with `::os/arch` behind it, which
 * holds for that platform and wins there.
 */
export class NamedContexts {
  readonly #contexts: Map<string, NamedContext> = new Map();
  readonly #asked: Set<string> = new Set();

  /** Throws `BAD_BUILD_CONTEXT`. */
  constructor(values: Readonly<Record<string, string>> = {}) {
    for (const [name, value] of Object.entries(values)) {
      const key = parseKey(name);
      this.#contexts.set(key, parseValue(key, name, value));
    }
  }

  /** What FROM or --from with this name take; undefined: what the name says. */
  find(name: string, platform: Platform): NamedContext | undefined {
    if (this.#contexts.size === 0 || RESERVED.has(name.toLowerCase())) return undefined;
    const key = tryFamiliar(name);
    if (key === undefined) return undefined;
    for (const candidate of [`${key}::${formatPlatform(platform)}`, key]) {
      const found = this.#contexts.get(candidate);
      if (found === undefined) continue;
      this.#asked.add(candidate);
      return found;
    }
    return undefined;
  }

  /** Names that no instruction asked for. */
  unused(): string[] {
    return [...this.#contexts.keys()].filter((key) => !this.#asked.has(key));
  }
}

function parseKey(text: string): string {
  const [name, platform] = text.split('::');
  const key = tryFamiliar(name!);
  if (key === undefined || RESERVED.has(key)) {
    throw new ImagoError('BAD_BUILD_CONTEXT', `${JSON.stringify(text)} is no name for a build context`, {
      want: 'a name as FROM has it, in lower case',
    });
  }
  return platform === undefined ? key : `${key}::${formatPlatform(parsePlatform(platform))}`;
}

/** Without the registry and the tag that are meant anyway. */
function tryFamiliar(name: string): string | undefined {
  try {
    return familiarReference(parseReference(name)).replace(/:latest$/, '');
  } catch {
    return undefined;
  }
}

function parseValue(key: string, name: string, value: string): NamedContext {
  const image = /^docker-image:(?:\/\/)?(.*)$/s.exec(value)?.[1];
  if (image !== undefined) {
    if (image === 'scratch') return { kind: 'scratch' };
    try {
      parseReference(image);
    } catch (error) {
      throw badContext(name, value, (error as Error).message, error);
    }
    return { kind: 'image', reference: image };
  }
  if (value.startsWith(OCI_LAYOUT)) {
    const { path } = parseLayoutReference(value);
    if (path === '') throw badContext(name, value, 'it names no directory');
    return { kind: 'image', reference: value };
  }
  if (value === '' || /^(?:target|input|local):/.test(value)) throw badContext(name, value, 'it names no files');
  // A git URL with a mistake is told now.
  parseGitUrl(value);
  return { kind: 'files', name: key, place: value };
}

/** `oci-layout://DIR`, with `:tag` or `@digest` behind it where the layout holds more than one image. */
export function parseLayoutReference(text: string): { path: string; wanted: string | undefined } {
  const rest = text.slice(OCI_LAYOUT.length);
  const digest = /^(.*)@((?:sha256|sha512):[0-9a-f]+)$/s.exec(rest);
  if (digest !== null) return { path: digest[1]!.replace(/:[A-Za-z0-9_][\w.-]{0,127}$/, ''), wanted: digest[2]! };
  const tag = /^(.*):([A-Za-z0-9_][\w.-]{0,127})$/s.exec(rest);
  return tag === null ? { path: rest, wanted: undefined } : { path: tag[1]!, wanted: tag[2]! };
}

function badContext(name: string, value: string, problem: string, cause?: unknown): ImagoError {
  return new ImagoError('BAD_BUILD_CONTEXT', `build context ${name}: ${problem}`, {
    want: 'a directory, a git or http URL, docker-image://NAME or oci-layout://DIR',
    got: hideCredentials(value),
    cause,
  });
}
