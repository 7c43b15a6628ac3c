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
