import { ImagoError, isImagoError } from '../../core/errors.ts';
import { randomHex } from '../../system/random.ts';
import type { RegistryStorage, Version } from '../storage/storage.ts';

const KEY = 'gc/lease';
/** After this a lease that nobody renewed is another's to take. */
const LEASE_MS = 5 * 60_000;
const RENEW_MS = 15_000;
/** A collector that could not renew for so long touches nothing more: far less than the lease, clocks may differ. */
const TRUST_MS = 60_000;

interface LeaseRecord {
  run: string;
  /** Milliseconds since 1970. */
  until: number;
}

/**
 * One collector at a time: a second one would take the first one's verdicts for those of a dead run, and pardon what the
 * first is about to remove.
 */
export class CollectorLease implements AsyncDisposable {
  readonly #storage: RegistryStorage;
  readonly #run: string;
  #version: Version;
  #renewed: number;
  #renewing: Promise<void> | undefined;

  private constructor(storage: RegistryStorage, run: string, version: Version) {
    this.#storage = storage;
    this.#run = run;
    this.#version = version;
    this.#renewed = performance.now();
  }

  /** Undefined while another collector has it. */
  static async take(storage: RegistryStorage): Promise<CollectorLease | undefined> {
    const run = randomHex(16);
    const held = await storage.readDocument(KEY);
    if (held !== undefined && readRecord(held.bytes).until > Date.now()) return undefined;
    try {
      const version = await storage.writeDocument(KEY, record(run, Date.now() + LEASE_MS), {
        expect: held?.version ?? 'absent',
      });
      return new CollectorLease(storage, run, version);
    } catch (error) {
      if (isImagoError(error, 'STORAGE_CONFLICT')) return undefined;
      throw error;
    }
  }

  /** To be called before whatever only the holder may do. Throws `GC_LEASE_LOST`. */
  renew(): Promise<void> | undefined {
    const age = performance.now() - this.#renewed;
    if (age < RENEW_MS) return undefined;
    this.#renewing ??= this.#renew(age).finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renew(age: number): Promise<void> {
    const started = performance.now();
    if (age < LEASE_MS) {
      try {
        const bytes = record(this.#run, Date.now() + LEASE_MS);
        this.#version = await this.#storage.writeDocument(KEY, bytes, { expect: this.#version });
        this.#renewed = started;
        return;
      } catch (error) {
        if (!isImagoError(error, 'STORAGE_CONFLICT')) {
          if (age < TRUST_MS) return;
          throw error;
        }
      }
    }
    throw new ImagoError('GC_LEASE_LOST', 'another collector took over: this one was held up for too long', {
      remedy: 'nothing is lost; the other one goes on',
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#storage.writeDocument(KEY, record(this.#run, 0), { expect: this.#version });
    } catch (error) {
      // It ends by itself.
      if (!isImagoError(error)) throw error;
    }
  }
}

/** Whether a collector is at work, or died and none has been since: no clock is asked. */
export async function isCollecting(storage: RegistryStorage): Promise<boolean> {
  const held = await storage.readDocument(KEY);
  return held !== undefined && readRecord(held.bytes).until !== 0;
}

function record(run: string, until: number): Buffer {
  return Buffer.from(JSON.stringify({ run, until } satisfies LeaseRecord));
}

function readRecord(bytes: Buffer): LeaseRecord {
  try {
    const { run, until } = JSON.parse(bytes.toString('utf8')) as LeaseRecord;
    return { run, until: Number.isFinite(until) ? until : 0 };
  } catch {
    return { run: '', until: 0 };
  }
}
