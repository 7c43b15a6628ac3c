import { ImagoError } from '../core/errors.ts';
import { parseDuration } from '../formats/dockerfile/duration.ts';
import type { CacheEntry } from './build-cache-usage.ts';

export type CacheFilter = (entry: CacheEntry) => boolean;

const KEYS = 'until, id, type, description, inuse, mutable, immutable, shared or private';

/**
 * `--filter` of `builder prune` and `builder du`, as docker buildx has them: `key=value`, `key!=value`, `key~=pattern`,
 * or a key alone; all must hold. `until=24h`: not used for a day. Throws `BAD_FILTER`.
 */
export function parseCacheFilters(texts: readonly string[], now: number = Date.now()): CacheFilter {
  const filters = texts.map((text) => parseFilter(text, now));
  return (entry) => filters.every((filter) => filter(entry));
}

function parseFilter(text: string, now: number): CacheFilter {
  const match = /^([a-z-]+)(?:(=|!=|~=)(.*))?$/s.exec(text);
  if (match === null) throw bad(text);
  const [, key, operator, value = ''] = match;
  if (key === 'until' || key === 'unused-for') return untilFilter(text, operator, value, now);
  const field = fieldOf(key!);
  if (field === undefined) throw bad(text);
  if (operator === undefined) {
    if (field.kind !== 'flag') throw bad(text);
    return (entry) => field.read(entry) === 'true';
  }
  if (operator === '~=') {
    const pattern = patternOf(value);
    return (entry) => pattern.test(field.read(entry));
  }
  // The beginning of an ID will do, as everywhere.
  const holds = (entry: CacheEntry): boolean =>
    key === 'id' ? value !== '' && field.read(entry).startsWith(value) : field.read(entry) === value;
  return operator === '=' ? holds : (entry) => !holds(entry);
}

function untilFilter(text: string, operator: string | undefined, value: string, now: number): CacheFilter {
  const nanoseconds = operator === '=' ? parseDuration(value) : undefined;
  if (nanoseconds === undefined || nanoseconds < 0) {
    throw new ImagoError('BAD_FILTER', `invalid filter '${text.slice(0, 200)}'`, {
      want: 'a time, as until=24h or until=30m',
    });
  }
  const latest = now - nanoseconds / 1e6;
  return (entry) => entry.lastUsed <= latest;
}

function fieldOf(key: string): { kind: 'flag' | 'text'; read(entry: CacheEntry): string } | undefined {
  const flag = (read: (entry: CacheEntry) => boolean) => ({
    kind: 'flag' as const,
    read: (entry: CacheEntry) => String(read(entry)),
  });
  switch (key) {
    case 'id':
      return { kind: 'text', read: ({ id }) => id };
    case 'type':
      return { kind: 'text', read: ({ type }) => type };
    case 'description':
      return { kind: 'text', read: ({ description }) => description };
    case 'inuse':
      return flag(({ inUse }) => inUse);
    case 'mutable':
      return flag(({ mutable }) => mutable);
    case 'immutable':
      return flag(({ mutable }) => !mutable);
    case 'shared':
      return flag(({ shared }) => shared);
    case 'private':
      return flag(({ shared }) => !shared);
    default:
      return undefined;
  }
}

function patternOf(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw new ImagoError('BAD_FILTER', 'invalid pattern in a filter', {
      got: JSON.stringify(text.slice(0, 200)),
      cause,
    });
  }
}

function bad(text: string): ImagoError {
  return new ImagoError('BAD_FILTER', `invalid filter '${text.slice(0, 200)}'`, { want: KEYS });
}
