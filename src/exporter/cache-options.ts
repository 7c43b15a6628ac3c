import { type Digest, isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { splitFields } from '../formats/dockerfile/mount.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { type CompressionForm, defaultForm, parseForm } from '../store/compression-form.ts';

/** Where a cache is. */
export type CachePlace =
  | { type: 'registry'; reference: Reference; insecure: boolean }
  | { type: 'local'; path: string; tag: string; digest?: Digest };

/** One `--cache-to`. */
export interface CacheTarget {
  /** Undefined: in the image itself (type=inline). */
  place: CachePlace | undefined;
  /** `min`: the steps whose layers the result has; `max`: all. */
  mode: 'min' | 'max';
  compression?: CompressionForm;
  /** An image manifest, which every registry takes, or a list of the layers as BuildKit made it before v0.21. */
  imageManifest: boolean;
  ociMediaTypes: boolean;
  /** A failed export does not fail the build. */
  ignoreError: boolean;
}

const FROM_KEYS = { registry: ['ref', 'registry.insecure'], local: ['src', 'tag', 'digest'] } as const;
const TO_KEYS = {
  registry: ['ref', 'registry.insecure'],
  local: ['dest', 'tag'],
  inline: [],
} as const;
const COMMON_KEYS = [
  'mode',
  'compression',
  'compression-level',
  'force-compression',
  'image-manifest',
  'oci-mediatypes',
  'ignore-error',
];

/** The value of `--cache-from`: `type=registry,ref=…`, `type=local,src=…`, or a reference. Throws `BAD_CACHE_OPTION`. */
export function parseCacheFrom(text: string): CachePlace {
  const pairs = readPairs(text, '--cache-from');
  const type = pairs.get('type') ?? 'registry';
  if (type !== 'registry' && type !== 'local') throw badType('--cache-from', ['registry', 'local'], type);
  checkKeys('--cache-from', pairs, FROM_KEYS[type]);
  return type === 'registry' ? registryPlace('--cache-from', pairs) : localPlace('--cache-from', pairs, 'src');
}

/** The value of `--cache-to`: `type=registry,ref=…`, `type=local,dest=…`, `type=inline`, or a reference. */
export function parseCacheTo(text: string): CacheTarget {
  const pairs = readPairs(text, '--cache-to');
  const type = pairs.get('type') ?? 'registry';
  if (type !== 'registry' && type !== 'local' && type !== 'inline') {
    throw badType('--cache-to', ['registry', 'local', 'inline'], type);
  }
  checkKeys('--cache-to', pairs, [...TO_KEYS[type], ...COMMON_KEYS]);
  const mode = pairs.get('mode') ?? 'min';
  if (mode !== 'min' && mode !== 'max') throw bad('--cache-to', 'unknown mode', 'min or max', mode);
  const ociMediaTypes = flag('--cache-to', pairs, 'oci-mediatypes') ?? true;
  const imageManifest = flag('--cache-to', pairs, 'image-manifest') ?? ociMediaTypes;
  if (imageManifest && !ociMediaTypes) {
    throw bad('--cache-to', 'a cache as an image manifest has OCI media types', 'image-manifest=false', text);
  }
  // Every layer of a cache is in the form that is asked for.
  flag('--cache-to', pairs, 'force-compression');
  return {
    place: targetPlace(type, pairs),
    mode,
    compression: readForm(pairs),
    imageManifest,
    ociMediaTypes,
    ignoreError: flag('--cache-to', pairs, 'ignore-error') ?? false,
  };
}

function targetPlace(type: keyof typeof TO_KEYS, pairs: ReadonlyMap<string, string>): CachePlace | undefined {
  if (type === 'inline') return undefined;
  if (type === 'local') return localPlace('--cache-to', pairs, 'dest');
  const place = registryPlace('--cache-to', pairs);
  if (place.reference.digest === undefined) return place;
  throw bad('--cache-to', 'a cache is written to a tag', 'ref=REGISTRY/NAME:TAG', pairs.get('ref'));
}

/** A single word without `=` is a reference. */
function readPairs(text: string, option: string): Map<string, string> {
  const fields = splitFields(text);
  if (fields.length === 1 && fields[0] !== '' && !fields[0]!.includes('=')) {
    return new Map([
      ['type', 'registry'],
      ['ref', fields[0]!],
    ]);
  }
  return new Map(
    fields.map((field) => {
      const at = field.indexOf('=');
      if (at > 0) return [field.slice(0, at).trim().toLowerCase(), field.slice(at + 1)];
      throw bad(option, 'malformed value', 'key=value[,key=value]', field);
    }),
  );
}

function registryPlace(option: string, pairs: ReadonlyMap<string, string>): CachePlace & { type: 'registry' } {
  const ref = pairs.get('ref') ?? '';
  if (ref === '') throw bad(option, 'type=registry needs a reference', 'ref=REGISTRY/NAME:TAG', undefined);
  return {
    type: 'registry',
    reference: parseReference(ref),
    insecure: flag(option, pairs, 'registry.insecure') ?? false,
  };
}

function localPlace(option: string, pairs: ReadonlyMap<string, string>, key: 'src' | 'dest'): CachePlace {
  const path = pairs.get(key) ?? '';
  if (path === '') throw bad(option, 'type=local needs a directory', `${key}=DIRECTORY`, undefined);
  const digest = pairs.get('digest');
  if (digest !== undefined && !isDigest(digest)) throw bad(option, 'invalid digest', 'sha256:<64 hex>', digest);
  return { type: 'local', path, tag: pairs.get('tag') ?? 'latest', ...(digest === undefined ? {} : { digest }) };
}

function readForm(pairs: ReadonlyMap<string, string>): CompressionForm | undefined {
  const kind = pairs.get('compression');
  const level = pairs.get('compression-level');
  if (kind === undefined && level === undefined) return undefined;
  if (kind === 'uncompressed') return defaultForm('none');
  return parseForm(level === undefined ? kind! : `${kind ?? 'gzip'}:${level}`);
}

function flag(option: string, pairs: ReadonlyMap<string, string>, key: string): boolean | undefined {
  const text = pairs.get(key)?.toLowerCase();
  if (text === undefined) return undefined;
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw bad(option, `invalid value of ${key}`, 'true or false', text);
}

function checkKeys(option: string, pairs: ReadonlyMap<string, string>, known: readonly string[]): void {
  for (const key of pairs.keys()) {
    if (key !== 'type' && !known.includes(key))
      throw bad(option, `unknown key ${key}`, known.join(', ') || 'none', key);
  }
}

function badType(option: string, types: readonly string[], got: string): ImagoError {
  return bad(option, `a cache of type ${got} is not supported`, types.join(', '), got);
}

function bad(option: string, summary: string, want: string, got: string | undefined): ImagoError {
  return new ImagoError('BAD_CACHE_OPTION', `${option}: ${summary}`, {
    want,
    got: got === undefined ? undefined : JSON.stringify(got.slice(0, 200)),
    exitCode: 125,
  });
}
