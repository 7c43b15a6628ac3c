import { createHash } from 'node:crypto';
import { createReadStream, type Stats, statSync } from 'node:fs';
import { basename, isAbsolute, normalize } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { skipBytes } from '../core/skip-bytes.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { familiarReference, formatReference, parseReference, type Reference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { CREATED, checkCollisions, splitTitle, TAR_DIGEST, TITLE, UNPACK } from './artifact-names.ts';
import { measurePacked, packDirectory } from './artifact-pack.ts';
import { Registries } from './push-registries.ts';
import { pushWhole } from './push-whole.ts';

export interface ArtifactFile {
  path: string;
  /** Default: that of a layer, as oras has it; of a directory, tar+gzip. */
  mediaType?: string;
}

export interface PushArtifactOptions extends ClientOptions {
  /** Default 'application/vnd.unknown.artifact.v1', as oras. */
  artifactType?: string;
  annotations?: Readonly<Record<string, string>>;
  /** What it belongs to, in the same repository: a reference in full, or a tag or digest alone. */
  subject?: string;
  /** RFC 3339; default now. */
  created?: string;
  /** `done` of `total` bytes of a file; at once at the end where the registry has it already. */
  onFile?: (name: string, done: number, total: number) => void;
}

export interface PushedArtifact {
  /** In full, with the digest where it got no tag. */
  reference: string;
  descriptor: Descriptor;
  /** Of the subject. */
  subject?: Digest;
}

interface Piece {
  descriptor: Descriptor;
  title: string;
  open: (offset: number) => AsyncIterable<Uint8Array>;
}

const UNKNOWN_ARTIFACT = 'application/vnd.unknown.artifact.v1';
/** OCI image-spec v1.1.1, manifest.md §Guidance for an Empty Descriptor. */
const EMPTY = Buffer.from('{}');
const EMPTY_DESCRIPTOR: Descriptor = {
  mediaType: MEDIA_TYPES.empty,
  digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
  size: EMPTY.length,
  data: 'e30=',
};
/** RFC 6838 §4.2. */
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;

/** `FILE[:MEDIATYPE]`; a file whose own name looks like that is taken as it is. */
export function parseArtifactFile(text: string): ArtifactFile {
  const colon = text.lastIndexOf(':');
  const mediaType = text.slice(colon + 1);
  if (colon <= 0 || !MEDIA_TYPE.test(mediaType)) return { path: text };
  const path = text.slice(0, colon);
  const literal = !exists(path) && exists(text);
  return literal ? { path: text } : { path, mediaType };
}

/**
 * Pushes files and directories as an OCI 1.1 artifact manifest, as `oras push` does. Without a subject the tag is
 * `latest` unless told; with one, there need be none. What the registry has is not sent.
 * Throws `BAD_FILE`, `BAD_TITLE`, `BAD_MEDIA_TYPE`, `BAD_SUBJECT`, and what the registry's client throws.
 */
export async function pushArtifact(
  name: string,
  files: readonly ArtifactFile[],
  options: PushArtifactOptions = {},
): Promise<PushedArtifact> {
  const target = parseReference(name, { defaultTag: options.subject === undefined });
  if (target.digest !== undefined) {
    throw new ImagoError('BAD_REFERENCE', 'an artifact cannot be pushed under a digest: it gets one', {
      got: name,
      remedy: 'give a tag, or the repository alone',
    });
  }
  const artifactType = options.artifactType ?? UNKNOWN_ARTIFACT;
  checkMediaType(artifactType);
  const titles = files.map(titleOf);
  checkCollisions(titles.map((title) => ({ parts: splitTitle(title), unpack: title === '.' })));
  using registries = new Registries(options);
  await using repository = registries.openTarget(target);
  const subject = options.subject === undefined ? undefined : await findSubject(repository, target, options.subject);
  const pieces: Piece[] = [];
  for (const [i, file] of files.entries()) pieces.push(await preparePiece(file, titles[i]!, options.signal));
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    artifactType,
    config: EMPTY_DESCRIPTOR,
    // A manifest must have a layer: distribution's registries want one.
    layers: pieces.length === 0 ? [EMPTY_DESCRIPTOR] : pieces.map((piece) => piece.descriptor),
    ...(subject === undefined ? {} : { subject }),
    annotations: { [CREATED]: options.created ?? now(), ...options.annotations },
  };
  const bytes = encodeJson(manifest);
  const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await pushWhole(async () => {
    const seen = new Set<Digest>();
    for (const piece of pieces) {
      if (!seen.has(piece.descriptor.digest)) await pushPiece(repository, piece, options);
      seen.add(piece.descriptor.digest);
    }
    await pushEmpty(repository, options.signal);
    await repository.putManifest(target.tag ?? digest, bytes, MEDIA_TYPES.manifest);
  });
  return {
    reference: formatReference(target.tag === undefined ? { ...target, digest } : target),
    descriptor: { mediaType: MEDIA_TYPES.manifest, digest, size: bytes.length },
    ...(subject === undefined ? {} : { subject: subject.digest }),
  };
}

/** As it was given, relative; a path from elsewhere by its last part, since no receiver takes another. */
function titleOf({ path }: ArtifactFile): string {
  const clean = normalize(path).replace(/(?<=.)\/+$/, '');
  const title = isAbsolute(clean) || clean === '..' || clean.startsWith('../') ? basename(clean) : clean;
  if (title === '' || title === '..') throw badFile(path, 'a path without a name of its own');
  return title;
}

async function preparePiece(file: ArtifactFile, title: string, signal?: AbortSignal): Promise<Piece> {
  const { path } = file;
  if (file.mediaType !== undefined) checkMediaType(file.mediaType);
  const stat: Stats | undefined = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImagoError('NO_SUCH_FILE', `'${path}' does not exist`);
  if (stat.isDirectory()) {
    const { digest, size, tarDigest } = await measurePacked(path, title, signal);
    const annotations = { [TITLE]: title, [UNPACK]: 'true', [TAR_DIGEST]: tarDigest };
    return {
      descriptor: { mediaType: file.mediaType ?? MEDIA_TYPES.layerGzip, digest, size, annotations },
      title,
      open: (offset) => skipBytes(packDirectory(path, title), offset),
    };
  }
  if (!stat.isFile()) throw badFile(path, 'neither a file nor a directory');
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of readFrom(path, 0)) {
    signal?.throwIfAborted();
    hash.update(chunk);
    size += chunk.length;
  }
  const digest: Digest = `sha256:${hash.digest('hex')}`;
  return {
    descriptor: { mediaType: file.mediaType ?? MEDIA_TYPES.layer, digest, size, annotations: { [TITLE]: title } },
    title,
    // What was added since is not part of it.
    open: (offset) => readFrom(path, offset, size),
  };
}

async function* readFrom(path: string, start: number, size = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
  if (start < size) yield* createReadStream(path, { start, end: size - 1, highWaterMark: 2 ** 18 });
}

async function pushPiece(repository: Repository, piece: Piece, options: PushArtifactOptions): Promise<void> {
  const { descriptor, title, open } = piece;
  const { digest, size } = descriptor;
  const { signal, onFile } = options;
  if ((await repository.headBlob(digest)) === undefined) {
    await repository.uploadBlob({ digest, size }, open, {
      onProgress: (done) => onFile?.(title, done, size),
      signal,
    });
  }
  onFile?.(title, size, size);
}

async function pushEmpty(repository: Repository, signal: AbortSignal | undefined): Promise<void> {
  const { digest, size } = EMPTY_DESCRIPTOR;
  if ((await repository.headBlob(digest)) !== undefined) return;
  await repository.uploadBlob({ digest, size }, (offset) => bytesFrom(EMPTY, offset), { signal });
}

async function* bytesFrom(bytes: Uint8Array, offset: number): AsyncGenerator<Uint8Array> {
  yield bytes.subarray(offset);
}

/** A manifest may name only what is in its own repository: distribution-spec v1.1.1 §Pushing Manifests with Subject. */
async function findSubject(repository: Repository, target: Reference, text: string): Promise<Descriptor> {
  const subject = parseSubject(target, text);
  if (subject.domain !== target.domain || subject.path !== target.path) {
    throw new ImagoError('BAD_SUBJECT', 'a subject must be in the repository that the artifact is pushed to', {
      want: `${target.domain}/${target.path}`,
      got: `${subject.domain}/${subject.path}`,
    });
  }
  const found = await repository.headManifest(subject.digest ?? subject.tag ?? 'latest');
  if (found !== undefined) return bareDescriptor(found);
  throw new ImagoError('MANIFEST_UNKNOWN', `the subject '${familiarReference(subject)}' is not in the registry`, {
    remedy: 'push it first',
  });
}

function parseSubject(target: Reference, text: string): Reference {
  const place = `${target.domain}/${target.path}`;
  if (/^@?sha(?:256|512):[0-9a-f]+$/.test(text)) return parseReference(`${place}@${text.replace('@', '')}`);
  if (text.startsWith(':')) return parseReference(`${place}${text}`);
  return parseReference(text);
}

function checkMediaType(text: string): void {
  if (MEDIA_TYPE.test(text)) return;
  throw new ImagoError('BAD_MEDIA_TYPE', 'invalid media type', {
    want: 'type/subtype, as application/spdx+json',
    got: JSON.stringify(text.slice(0, 100)),
  });
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** RFC 3339 in whole seconds, as oras writes it. */
function now(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}

function badFile(path: string, got: string): ImagoError {
  return new ImagoError('BAD_FILE', `cannot push '${path}'`, { want: 'files and directories', got });
}
