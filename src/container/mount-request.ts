import { isAbsolute, normalize } from 'node:path/posix';
import { ImagoError } from '../core/errors.ts';

/** A mount that was asked for. Destinations are absolute and cleaned. */
export type MountRequest =
  | { type: 'bind'; source: string; destination: string; options: string[] }
  /** `name` is undefined in a request: an anonymous volume, named when the container is made. */
  | { type: 'volume'; name?: string; anonymous: boolean; destination: string; options: string[] }
  | { type: 'tmpfs'; destination: string; options: string[] };

/** Docker's volume names. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const OPTIONS = new Set([
  'ro',
  'rw',
  'nocopy',
  'z',
  'Z',
  'shared',
  'slave',
  'private',
  'rshared',
  'rslave',
  'rprivate',
]);

/** `-v [SOURCE:]DESTINATION[:OPTIONS]`. Throws `BAD_VOLUME`. */
export function parseVolumeOption(text: string): MountRequest {
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) throw badVolume(text, 'SOURCE:DESTINATION[:OPTIONS]');
  if (parts.length === 1) {
    return { type: 'volume', anonymous: true, destination: cleanDestination(parts[0]!, text), options: [] };
  }
  // 'DESTINATION:ro' has no source; a path as second part decides.
  const [source, second, third] = parts as [string, string, string | undefined];
  if (third === undefined && !isAbsolute(second) && isAbsolute(source) && isOptionList(second)) {
    return { type: 'volume', anonymous: true, destination: cleanDestination(source, text), options: second.split(',') };
  }
  const destination = cleanDestination(second, text);
  const options = third === undefined ? [] : third.split(',');
  if (!isOptionList(third ?? 'rw')) throw badVolume(text, `options of ${[...OPTIONS].join(', ')}`);
  if (isAbsolute(source)) return { type: 'bind', source: normalize(source), destination, options };
  if (!VOLUME_NAME.test(source)) {
    throw badVolume(text, 'an absolute path or a volume name ([a-zA-Z0-9][a-zA-Z0-9_.-]) as its source');
  }
  return { type: 'volume', name: source, anonymous: false, destination, options };
}

/** `--tmpfs DESTINATION[:OPTIONS]`. Throws `BAD_VOLUME`. */
export function parseTmpfsOption(text: string): MountRequest {
  const colon = text.indexOf(':');
  const destination = cleanDestination(colon === -1 ? text : text.slice(0, colon), text);
  return { type: 'tmpfs', destination, options: colon === -1 ? [] : text.slice(colon + 1).split(',') };
}

/**
 * All mounts of a container: what was asked for, and an anonymous volume for each VOLUME of the image that nothing
 * covers. Throws `DUPLICATE_MOUNT`.
 */
export function mergeMounts(requests: readonly MountRequest[], imageVolumes: readonly string[]): MountRequest[] {
  const out = new Map<string, MountRequest>();
  for (const request of requests) {
    if (out.has(request.destination)) {
      throw new ImagoError('DUPLICATE_MOUNT', `Duplicate mount point: ${request.destination}`, { exitCode: 125 });
    }
    out.set(request.destination, request);
  }
  for (const path of imageVolumes) {
    const destination = normalize(`/${path}`).replace(/(?<=.)\/$/, '');
    if (destination === '/' || out.has(destination)) continue;
    out.set(destination, { type: 'volume', anonymous: true, destination, options: [] });
  }
  // Outer ones first, or they would cover the inner ones.
  return [...out.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
}

function depth(path: string): number {
  return path.split('/').length;
}

function isOptionList(text: string): boolean {
  return text.split(',').every((option) => OPTIONS.has(option));
}

function cleanDestination(path: string, text: string): string {
  if (!isAbsolute(path)) throw badVolume(text, 'an absolute path in the container');
  const clean = normalize(path).replace(/(?<=.)\/$/, '');
  if (clean === '/') throw badVolume(text, "a destination other than '/'");
  return clean;
}

function badVolume(text: string, want: string): ImagoError {
  return new ImagoError('BAD_VOLUME', `invalid volume specification: '${text}'`, { want, exitCode: 125 });
}
