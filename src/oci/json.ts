import { type Digest, isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';

/** As other clients bound them (containers/image, containerd): 4 MiB for a manifest, an index and a config. */
const MAX_DOCUMENT = 4 * 1024 * 1024;

const decoder: TextDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder: TextEncoder = new TextEncoder();

/** The root of a JSON document from outside, of at most `largest` bytes. Throws `code` for what is too large, not UTF-8, or not JSON. */
export function parseJson(bytes: Uint8Array, code: string, what: string, largest: number = MAX_DOCUMENT): Field {
  if (bytes.length > largest) {
    throw new ImagoError(code, `${what} is too large`, { want: `at most ${largest} bytes`, got: bytes.length });
  }
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new ImagoError(code, `${what} is not JSON`, { got: cause instanceof Error ? cause.message : '', cause });
  }
  return new Field(value, '', code, what);
}

/** Compact JSON with sorted keys: the same value always gives the same bytes. Undefined members are left out. */
export function encodeJson(value: unknown): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(value, sortKeys));
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries);
}

/**
 * A value inside a JSON document, with the way to it, so that an error can say which field was wrong.
 * `null` counts as absent: Go programs write it for empty lists and maps.
 */
export class Field {
  readonly value: unknown;
  readonly path: string;
  readonly #code: string;
  readonly #what: string;

  constructor(value: unknown, path: string, code: string, what: string) {
    this.value = value;
    this.path = path;
    this.#code = code;
    this.#what = what;
  }

  get present(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  /** A member of this object. */
  get(name: string): Field {
    const object = this.object();
    const own = Object.hasOwn(object, name) ? object[name] : undefined;
    return this.#child(own, this.path === '' ? name : `${this.path}.${name}`);
  }

  object(): Record<string, unknown> {
    const value = this.value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.bad('an object');
    return value as Record<string, unknown>;
  }

  /** Elements; none where the list is absent. */
  list(): Field[] {
    if (!this.present) return [];
    if (!Array.isArray(this.value)) throw this.bad('a list');
    return this.value.map((item, i) => this.#child(item, `${this.path}[${i}]`));
  }

  string(): string {
    if (typeof this.value !== 'string') throw this.bad('a string');
    return this.value;
  }

  nonEmpty(): string {
    const text = this.string();
    if (text === '') throw this.bad('a string that is not empty');
    return text;
  }

  size(): number {
    const value = this.value;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw this.bad('a number of bytes');
    return value;
  }

  digest(): Digest {
    const text = this.string();
    if (!isDigest(text)) throw this.bad('sha256:<64 hex> or sha512:<128 hex>');
    return text;
  }

  /** Checks that the value, where present, is of this kind. */
  optional(kind: 'string' | 'boolean' | 'number' | 'strings' | 'map' | 'string map' | 'object'): void {
    if (!this.present) return;
    if (kind === 'strings') for (const item of this.list()) item.string();
    else if (kind === 'object' || kind === 'map') this.object();
    else if (kind === 'string map') for (const name of Object.keys(this.object())) this.get(name).string();
    else if (typeof this.value !== kind) throw this.bad(`a ${kind}`);
  }

  bad(want: string): ImagoError {
    const shown = JSON.stringify(this.value) ?? 'nothing';
    return new ImagoError(this.#code, `${this.#what}: ${this.path === '' ? 'the document' : this.path}`, {
      want,
      got: shown.length > 120 ? `${shown.slice(0, 120)}…` : shown,
    });
  }

  #child(value: unknown, path: string): Field {
    return new Field(value, path, this.#code, this.#what);
  }
}
