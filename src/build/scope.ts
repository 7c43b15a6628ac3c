/** Names that were set since the base was made, until a new one is. */
const RECENT = 64;

/**
 * Variables by name, in the order in which they were first set. A value: `with` gives a new one, and does not copy all
 * for that, since thousands of lines may set one each.
 */
export class Scope implements Iterable<[string, string]> {
  readonly #base: ReadonlyMap<string, string>;
  readonly #recent: ReadonlyMap<string, string>;

  constructor(pairs: Iterable<readonly [string, string]>, recent: ReadonlyMap<string, string> = new Map()) {
    this.#base = pairs instanceof Map ? pairs : new Map(pairs);
    this.#recent = recent;
  }

  get(name: string): string | undefined {
    return this.#recent.get(name) ?? this.#base.get(name);
  }

  has(name: string): boolean {
    return this.#recent.has(name) || this.#base.has(name);
  }

  with(pairs: Iterable<readonly [string, string]>): Scope {
    const recent = new Map([...this.#recent, ...pairs]);
    return recent.size <= RECENT ? new Scope(this.#base, recent) : new Scope([...this.#base, ...recent]);
  }

  *[Symbol.iterator](): Generator<[string, string]> {
    for (const [name, value] of this.#base) yield [name, this.#recent.get(name) ?? value];
    for (const pair of this.#recent) if (!this.#base.has(pair[0])) yield pair;
  }
}
