import { ImagoError } from '../core/errors.ts';

/** ctrl-p, ctrl-q */
export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

/** Docker's notation: single characters and ctrl-<a-z @ [ \ ] ^ _>, separated by commas. Throws `BAD_DETACH_KEYS`. */
export function parseDetachKeys(text: string): Uint8Array {
  const keys = text.split(',').map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) - 64;
    throw new ImagoError('BAD_DETACH_KEYS', `invalid detach keys: ${text}`, { want: "'ctrl-p,ctrl-q' or 'a,b'" });
  });
  return Uint8Array.from(keys);
}

/** Finds the keys in what a user types; holds back what may become them. */
export class DetachScanner {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What of the input goes on to the container; after `detached` nothing does. */
  push(input: Uint8Array): { pass: Uint8Array; detached: boolean } {
    const pass: number[] = [];
    for (const byte of input) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) return { pass: Uint8Array.from(pass), detached: true };
        continue;
      }
      pass.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Uint8Array.from(pass), detached: false };
  }
}
