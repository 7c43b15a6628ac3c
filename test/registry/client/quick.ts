import { openRepository, type Repository } from '../../../src/registry/client/repository.ts';
import type { ClientOptions } from '../../../src/registry/client/types.ts';
import type { FakeRegistry } from '../fake-registry.ts';

/** Nothing of this machine's settings, and short pauses. */
export const QUICK: ClientOptions = {
  dockerConfig: '/nonexistent/config.json',
  certificates: [],
  environment: {},
  timing: { retryMs: 2, stallMs: 1000, connectMs: 3000, maxRetryAfterMs: 50 },
};

export function openFake(registry: FakeRegistry, path = 'team/app', options: ClientOptions = {}): Repository {
  return openRepository({ domain: registry.host, path }, { ...QUICK, ...options });
}

/** For real servers: they sync to disks that are busy. */
export const PATIENT: ClientOptions = { ...QUICK, timing: { retryMs: 250, stallMs: 30_000, connectMs: 10_000 } };

/** These bytes from an offset on, in pieces. */
export function sourceOf(bytes: Buffer, piece = 65_536): (offset: number) => AsyncGenerator<Buffer> {
  return async function* (offset) {
    for (let at = offset; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
  };
}

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
