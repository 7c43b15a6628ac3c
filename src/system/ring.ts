const SLOTS = 4;
const SLOT_SIZE = 1024 * 1024;
/** Index of each number in the ring's header; the lengths of the slots come behind. */
const PRODUCED = 0;
const CONSUMED = 1;
const LENGTHS = 2;
const HEADER = 64;
/** Worth to wake an idle reader for. */
const ENOUGH = 64 * 1024;
const END = -1;

/** Shared memory for bytes from one thread to another: a header and `SLOTS` slots of 1 MiB. */
export function createRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER + SLOTS * SLOT_SIZE);
}

/** The end that fills a ring, never blocking its thread. Small pieces are put together. */
export class RingWriter {
  readonly #numbers: Int32Array;
  readonly #bytes: Uint8Array;
  #filled = 0;
  #cancelled = false;

  constructor(ring: SharedArrayBuffer) {
    this.#numbers = new Int32Array(ring, 0, HEADER / 4);
    this.#bytes = new Uint8Array(ring, HEADER);
  }

  /** The bytes are copied when it resolves. False once the ring was cancelled. */
  async write(bytes: Uint8Array): Promise<boolean> {
    let at = 0;
    while (at < bytes.length) {
      if (!(await this.#room())) return false;
      const count = Math.min(bytes.length - at, SLOT_SIZE - this.#filled);
      const slot = this.#numbers[PRODUCED]! % SLOTS;
      this.#bytes.set(bytes.subarray(at, at + count), slot * SLOT_SIZE + this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === SLOT_SIZE || (this.#filled >= ENOUGH && this.#idle())) this.#publish(this.#filled);
    }
    return !this.#cancelled;
  }

  async end(): Promise<void> {
    if (!(await this.#room())) return;
    if (this.#filled > 0) this.#publish(this.#filled);
    if (await this.#room()) this.#publish(END);
  }

  /** Wakes a waiting `write`: the other end is gone. */
  cancel(): void {
    this.#cancelled = true;
    Atomics.notify(this.#numbers, CONSUMED);
  }

  async #room(): Promise<boolean> {
    while (!this.#cancelled) {
      const consumed = Atomics.load(this.#numbers, CONSUMED);
      if (this.#numbers[PRODUCED]! - consumed < SLOTS) return true;
      await Atomics.waitAsync(this.#numbers, CONSUMED, consumed).value;
    }
    return false;
  }

  /** The other end has nothing to do. */
  #idle(): boolean {
    return Atomics.load(this.#numbers, CONSUMED) === this.#numbers[PRODUCED];
  }

  #publish(length: number): void {
    const produced = this.#numbers[PRODUCED]!;
    this.#numbers[LENGTHS + (produced % SLOTS)] = length;
    this.#filled = 0;
    Atomics.store(this.#numbers, PRODUCED, produced + 1);
    Atomics.notify(this.#numbers, PRODUCED);
  }
}

/** The end that empties a ring; blocks its thread while there is nothing. Yields views that live until the next one. */
export function* readRing(ring: SharedArrayBuffer): Generator<Uint8Array, void, undefined> {
  const numbers = new Int32Array(ring, 0, HEADER / 4);
  for (let consumed = 0; ; consumed++) {
    while (Atomics.load(numbers, PRODUCED) === consumed) Atomics.wait(numbers, PRODUCED, consumed);
    const slot = consumed % SLOTS;
    const length = numbers[LENGTHS + slot]!;
    if (length === END) return;
    yield new Uint8Array(ring, HEADER + slot * SLOT_SIZE, length);
    Atomics.store(numbers, CONSUMED, consumed + 1);
    Atomics.notify(numbers, CONSUMED);
  }
}
