/**
 * Steps that several stages or platforms of one build ask for at once: each is done once, by who asks first. Shared
 * by all that one `solvePlans` builds, and gone with it.
 */
export class SharedSteps {
  readonly #steps: Map<string, Promise<unknown>> = new Map();

  /** `shared`: somebody else did it, or is at it. */
  async once<T>(key: string, work: () => Promise<T>): Promise<{ value: T; shared: boolean }> {
    const known = this.#steps.get(key);
    if (known !== undefined) return { value: (await known) as T, shared: true };
    const started = work();
    this.#steps.set(key, started);
    return { value: await started, shared: false };
  }
}

/** Lets so many in at once; the others wait in the order in which they came. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // The place goes from hand to hand.
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
