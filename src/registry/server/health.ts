const CHECK_TIMEOUT_MS = 5000;
/** However often the question comes, the storage is asked once a second. */
const REMEMBER_MS = 1000;

export interface Health {
  status: 200 | 503;
  /** One line. */
  text: string;
}

/** Whether this replica should get requests: the storage answers, and nobody told the server to stop. */
export class Readiness {
  readonly #check: () => Promise<void>;
  readonly #onFailure: (error: unknown) => void;
  #draining = false;
  #last: Promise<boolean> | undefined;
  #at = 0;

  /** `onFailure` is for the log: the answer itself tells no details to whoever asks. */
  constructor(check: () => Promise<void>, onFailure: (error: unknown) => void) {
    this.#check = check;
    this.#onFailure = onFailure;
  }

  /** Not ready from now on. */
  drain(): void {
    this.#draining = true;
  }

  async read(): Promise<Health> {
    if (this.#draining) return { status: 503, text: 'shutting down\n' };
    const now = performance.now();
    if (this.#last === undefined || now - this.#at > REMEMBER_MS) {
      this.#at = now;
      this.#last = this.#ask();
    }
    return (await this.#last) ? { status: 200, text: 'ready\n' } : { status: 503, text: 'storage not available\n' };
  }

  async #ask(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS);
      });
      await Promise.race([this.#check(), late]);
      return true;
    } catch (error) {
      this.#onFailure(error);
      return false;
    } finally {
      clearTimeout(timer);
    }
  }
}
