import { parseEpoch } from '../build/epoch.ts';
import type { SbomScanner } from '../build/sbom/scan-plan.ts';
import { ImagoError } from '../core/errors.ts';
import { splitFields } from '../formats/dockerfile/mount.ts';
import { formatPlatform, parsePlatform } from '../oci/platform.ts';
import { type CompressionForm, defaultForm, parseForm } from '../store/compression-form.ts';

export const OUTPUT_TYPES = ['image', 'registry', 'docker', 'oci', 'local', 'tar', 'cacheonly'] as const;
export type OutputType = (typeof OUTPUT_TYPES)[number];

/** Where an annotation goes: the manifest of an image, the index, or the descriptor that names one of them. */
export type AnnotationPlace = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor';

export interface Annotation {
  place: AnnotationPlace;
  /** `os/architecture`: of this platform's image only. */
  platform?: string;
  key: string;
  value: string;
}

/** What becomes of a build: one `--output`. */
export interface BuildOutput {
  type: OutputType;
  /** File or directory; '-' is standard output. None: the store, for an image. */
  dest?: string;
  /** Beside those of `--tag`. */
  names?: readonly string[];
  push?: boolean;
  /** To the repository of the name, without its tag. */
  pushByDigest?: boolean;
  /** Plain HTTP, and certificates that nobody vouches for. */
  insecure?: boolean;
  /** Of layers. Default: gzip for what leaves the store, none for what stays. */
  compression?: CompressionForm;
  /** Also of the base's layers: they and the base's digests are others then. */
  forceCompression?: boolean;
  /** No file of the new layers is younger than the epoch. */
  rewriteTimestamp?: boolean;
  /** In the place of the build's; null for none. */
  epoch?: Date | null;
  /** Default: true, but for type=docker. */
  ociMediaTypes?: boolean;
  /** Attestations as OCI 1.1 artifacts with a subject, instead of as BuildKit has always written them. */
  ociArtifact?: boolean;
  /** False: a directory instead of an archive (type=oci and docker). */
  tar?: boolean;
  /** One directory for each platform (type=local and tar). Default: where there are several. */
  platformSplit?: boolean;
  /** Of the names of attestations among the files (type=local and tar). */
  attestationPrefix?: string;
  annotations?: readonly Annotation[];
}

const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/**
 * The value of `--output` (docs.docker.com/build/exporters): `type=oci,dest=a.tar`, a directory for type=local, or
 * '-' for a tar on standard output. Throws `BAD_OUTPUT`.
 */
export function parseOutput(text: string): BuildOutput {
  const fields = fieldsOf(text, 'BAD_OUTPUT', '--output');
  if (text === '') throw bad('the value of --output is empty', 'a directory, or type=…', undefined);
  if (fields.length === 1 && !fields[0]!.includes('=')) {
    return text === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: fields[0]! };
  }
  const pairs = fields.map((field) => cut(field, 'BAD_OUTPUT', '--output'));
  const type = pairs.findLast(([key]) => key === 'type')?.[1];
  if (type === undefined || !(OUTPUT_TYPES as readonly string[]).includes(type)) {
    throw bad(
      type === undefined ? 'type is required for output' : 'unknown type of output',
      OUTPUT_TYPES.join(', '),
      type ?? text,
    );
  }
  const output: BuildOutput = { type: type as OutputType };
  let level: string | undefined;
  let kind: string | undefined;
  const annotations: Annotation[] = [];
  for (const [key, value] of pairs) {
    if (key === 'compression') kind = value;
    else if (key === 'compression-level') level = value;
    else if (/^annotation(?=[-[.])/.test(key)) annotations.push(annotationOf(key, value));
    else setOption(output, key, value);
  }
  if (kind !== undefined || level !== undefined) output.compression = formOf(kind, level);
  if (annotations.length > 0) output.annotations = annotations;
  return checkOutput(output);
}

function setOption(output: BuildOutput, key: string, value: string): void {
  switch (key) {
    case 'type':
      return;
    case 'dest':
      output.dest = value;
      return;
    case 'name':
      output.names = value.split(',').filter((name) => name !== '');
      return;
    case 'attestation-prefix':
      output.attestationPrefix = value;
      return;
    case 'push':
      output.push = boolean(key, value);
      return;
    case 'push-by-digest':
      output.pushByDigest = boolean(key, value);
      return;
    case 'registry.insecure':
      output.insecure = boolean(key, value);
      return;
    case 'force-compression':
      output.forceCompression = boolean(key, value);
      return;
    case 'rewrite-timestamp':
      output.rewriteTimestamp = boolean(key, value);
      return;
    case 'source-date-epoch':
      output.epoch = parseEpoch(value) ?? null;
      return;
    case 'oci-mediatypes':
      output.ociMediaTypes = boolean(key, value);
      return;
    case 'oci-artifact':
      output.ociArtifact = boolean(key, value);
      return;
    case 'tar':
      output.tar = boolean(key, value);
      return;
    case 'platform-split':
      output.platformSplit = boolean(key, value);
      return;
    // Always so here: a layer is ready as it is, images are always stored, and a name has its digest.
    case 'unpack':
    case 'store':
    case 'name-canonical':
      boolean(key, value);
      return;
    default:
      throw bad(`unknown option of --output`, 'an option of docker buildx build --output', key);
  }
}

function checkOutput(output: BuildOutput): BuildOutput {
  const { type, dest } = output;
  // As buildx: an archive without a place goes to standard output.
  const archive = type === 'tar' || (type === 'oci' && output.tar !== false);
  if (archive && (dest === undefined || dest === '')) return { ...output, dest: '-' };
  if ((type === 'local' || type === 'oci') && (dest === undefined || dest === '')) {
    throw bad(`dest is required for ${type} output`, `type=${type},dest=PATH`, undefined);
  }
  if ((type === 'image' || type === 'registry' || type === 'cacheonly') && dest !== undefined) {
    throw bad(`dest is not used with ${type} output`, 'type=docker or type=oci for a file', dest);
  }
  if (type === 'local' && dest === '-') throw bad('a directory cannot be written to standard output', 'type=tar', dest);
  return output;
}

function formOf(kind = 'gzip', level: string | undefined): CompressionForm {
  if (kind === 'estargz') {
    throw new ImagoError('UNSUPPORTED', 'compression=estargz is not supported', { want: 'gzip, zstd or uncompressed' });
  }
  if (kind === 'uncompressed') return defaultForm('none');
  return parseForm(level === undefined ? kind : `${kind}:${level}`);
}

const PLACES = ['manifest', 'index', 'manifest-descriptor', 'index-descriptor'] as const;

/** `annotation.key`, `annotation-index.key`, `annotation-manifest[linux/amd64].key`. */
function annotationOf(name: string, value: string): Annotation {
  const match = /^annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/.exec(name);
  if (match === null) throw bad('malformed annotation', 'annotation[-place][platform].key=value', name);
  return placed(match[1] ?? 'manifest', match[2], match[3]!, value, name);
}

/** The value of `--annotation`: `[place[platform][,place…]:]key=value`. One for each place. Throws `BAD_OUTPUT`. */
export function parseAnnotation(text: string): Annotation[] {
  const match = /^(?:([a-z-]+(?:\[[A-Za-z0-9_/-]+\])?(?:,[a-z-]+(?:\[[A-Za-z0-9_/-]+\])?)*):)?([^=\s]+)=(.*)$/s.exec(
    text,
  );
  if (match === null) throw bad('malformed annotation', '[manifest:|index:|…]key=value', text);
  const [, places = 'manifest', key, value] = match;
  return places.split(',').map((place) => {
    const [, name, platform] = /^([a-z-]+)(?:\[(.*)\])?$/.exec(place)!;
    return placed(name!, platform, key!, value!, text);
  });
}

function placed(place: string, platform: string | undefined, key: string, value: string, text: string): Annotation {
  if (!(PLACES as readonly string[]).includes(place))
    throw bad('unknown place of an annotation', PLACES.join(', '), text);
  const annotation: Annotation = { place: place as AnnotationPlace, key, value };
  if (platform === undefined) return annotation;
  if (place.startsWith('index')) throw bad('an index has no platform', `annotation-${place}.KEY`, text);
  return { ...annotation, platform: formatPlatform(parsePlatform(platform)) };
}

/** How a provenance is written. */
export interface ProvenanceOptions {
  /** `max` tells build arguments and the Dockerfile itself. Default min. */
  mode?: 'min' | 'max';
  /** Of SLSA's predicate. Default v1. */
  version?: 'v0.2' | 'v1';
  builderId?: string;
  /** The user's word for it. */
  reproducible?: boolean;
}

export interface AttestOptions {
  provenance?: ProvenanceOptions;
  /** True: of what the package databases tell; or what an image finds. */
  sbom?: boolean | SbomScanner;
}

/**
 * `--provenance`, `--sbom` and `--attest` together, as docker buildx reads them: an empty value is none. Throws
 * `BAD_ATTESTATION`.
 */
export function parseAttestations(words: {
  provenance?: string;
  sbom?: string;
  attest?: readonly string[];
}): AttestOptions {
  const out: AttestOptions = {};
  const seen = new Set<string>();
  const take = (text: string, type?: string): void => {
    const pairs = readAttest(text, type);
    const kind = pairs.get('type');
    if (kind !== 'sbom' && kind !== 'provenance') {
      throw badAttest(
        kind === undefined ? 'an attestation has no type' : 'unknown attestation type',
        'type=sbom or type=provenance',
        text,
      );
    }
    if (seen.has(kind)) throw badAttest(`duplicate attestation field ${kind}`, 'one of each type', text);
    seen.add(kind);
    if (pairs.get('disabled') === 'true') return;
    if (kind === 'sbom') out.sbom = sbomOf(pairs, text);
    else out.provenance = provenanceOf(pairs, text);
  };
  for (const text of words.attest ?? []) take(text);
  if (words.provenance) take(words.provenance, 'provenance');
  if (words.sbom) take(words.sbom, 'sbom');
  return out;
}

function readAttest(text: string, type: string | undefined): Map<string, string> {
  const pairs = new Map<string, string>(type === undefined ? [] : [['type', type]]);
  if (type !== undefined && (TRUE.has(text) || FALSE.has(text))) return pairs.set('disabled', String(FALSE.has(text)));
  const fields = fieldsOf(text, 'BAD_ATTESTATION', 'attestation').map((field) =>
    cut(field, 'BAD_ATTESTATION', 'attestation'),
  );
  const kind = type ?? fields.findLast(([key]) => key === 'type')?.[1];
  for (const [key, value, written] of fields) {
    if (key === 'disabled') pairs.set(key, String(TRUE.has(value)));
    // A generator's parameters are as they are written.
    else pairs.set(kind !== 'sbom' || key === 'type' || key === 'generator' ? key : written, value);
  }
  return pairs;
}

/** Whatever else it says is for the generator. */
function sbomOf(pairs: ReadonlyMap<string, string>, text: string): true | SbomScanner {
  const { type: _type, disabled: _disabled, generator, ...parameters } = Object.fromEntries(pairs);
  if (generator !== undefined && generator !== '') return { generator, parameters };
  const [unknown] = Object.keys(parameters);
  if (unknown === undefined && generator === undefined) return true;
  const problem =
    unknown === undefined ? 'the generator of an SBOM has no name' : `unknown option ${unknown} of an SBOM`;
  throw badAttest(problem, 'type=sbom, or type=sbom,generator=IMAGE', text);
}

function provenanceOf(pairs: ReadonlyMap<string, string>, text: string): ProvenanceOptions {
  const options: ProvenanceOptions = {};
  for (const [key, value] of pairs) {
    if (key === 'mode' && (value === 'min' || value === 'max')) options.mode = value;
    else if (key === 'version' && (value === 'v1' || value === 'v0.2')) options.version = value;
    else if (key === 'builder-id') options.builderId = value;
    else if (key === 'reproducible') options.reproducible = boolean(key, value);
    else if (key !== 'type' && key !== 'disabled' && key !== 'inline-only') {
      throw badAttest(
        `bad option ${key} of a provenance`,
        'mode=min|max, version=v0.2|v1, builder-id=…, reproducible=…',
        text,
      );
    }
  }
  return options;
}

function fieldsOf(text: string, code: string, what: string): string[] {
  try {
    return splitFields(text);
  } catch (cause) {
    throw new ImagoError(code, `the value of ${what} is not CSV`, { want: 'key=value,…', got: text, cause });
  }
}

/** The key in lower case, the value, and the key as it is written. */
function cut(field: string, code: string, what: string): [key: string, value: string, written: string] {
  const equals = field.indexOf('=');
  const written = field.slice(0, Math.max(equals, 0));
  if (equals > 0) return [written.trim().toLowerCase(), field.slice(equals + 1), written];
  throw new ImagoError(code, `invalid value of ${what}`, { want: 'key=value', got: field, exitCode: 125 });
}

function boolean(key: string, value: string): boolean {
  if (TRUE.has(value)) return true;
  if (FALSE.has(value)) return false;
  throw bad(`non-boolean value of ${key}`, 'true or false', value);
}

function bad(summary: string, want: string, got: string | undefined): ImagoError {
  return new ImagoError('BAD_OUTPUT', summary, { want, got, exitCode: 125 });
}

function badAttest(summary: string, want: string, got: string, remedy?: string): ImagoError {
  return new ImagoError('BAD_ATTESTATION', summary, { want, got, remedy, exitCode: 125 });
}
