import { parseEpoch } from '../build/epoch.ts';
import { ImagoError } from '../core/errors.ts';
import { type CompressionForm, defaultForm, parseForm } from '../store/compression-form.ts';
import { type Annotation, annotationOf } from './annotation-options.ts';
import { bad, boolean, cut, fieldsOf } from './option-fields.ts';

export const OUTPUT_TYPES = ['image', 'registry', 'docker', 'oci', 'local', 'tar', 'cacheonly'] as const;
export type OutputType = (typeof OUTPUT_TYPES)[number];

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
