import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type Digest, digestAlgorithm, shortId } from '../core/digest.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import { skipBytes } from '../core/skip-bytes.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { layerKind } from '../oci/media-types.ts';
import { compressFile, type PackedForm } from '../store/compress-layer.ts';
import { defaultForm, parseForm } from '../store/compression-form.ts';
import { hasLayer, layerTarPath } from '../store/layers.ts';
import { origins } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import { checkBytes, type OpenBytes } from '../system/checked-bytes.ts';
import type { Registries } from './push-registries.ts';

/** A place that has (or had) a layer's very bytes. */
interface BytesSource {
  /** For errors. */
  title: string;
  open: OpenBytes;
}

export interface SearchOptions {
  /** Nothing is fetched from here: it was asked already. */
  except?: string;
  signal?: AbortSignal;
}

/**
 * Hands the bytes that a descriptor names to `send`, from the first place that has them: kept here, made again in the
 * form that a push made them in, fetched from where they came, or made in the usual form where that happens to give
 * the same digest. They are checked on the way. `diffId` is undefined for what is no layer.
 * Throws `LAYER_BYTES_GONE`, and what `send` throws.
 */
export async function sendBytes(
  store: Store,
  registries: Registries,
  { descriptor, diffId }: { descriptor: Descriptor; diffId: Digest | undefined },
  send: (open: OpenBytes) => Promise<void>,
  options: SearchOptions = {},
): Promise<void> {
  const failures: string[] = [];
  for await (const source of findSources(store, registries, descriptor, diffId, failures, options)) {
    const watched = watchSource(source.open);
    try {
      return await send(checkBytes(descriptor, watched.open, source.title));
    } catch (error) {
      options.signal?.throwIfAborted();
      const wrong = isImagoError(error) && (error.code === 'DIGEST_MISMATCH' || error.code === 'SIZE_MISMATCH');
      // What the target refuses it would refuse from any source.
      if (watched.failure === undefined && !wrong) throw error;
      failures.push(`${source.title}: ${messageOf(watched.failure ?? error)}`);
    }
  }
  throw bytesGone(descriptor, diffId, failures);
}

/** From the cheapest on. Sources that turn out to have nothing tell why in `failures`. */
async function* findSources(
  store: Store,
  registries: Registries,
  descriptor: Descriptor,
  diffId: Digest | undefined,
  failures: string[],
  { except, signal }: SearchOptions,
): AsyncGenerator<BytesSource, void, undefined> {
  const { digest } = descriptor;
  if (store.blobSize(digest) === descriptor.size) {
    yield { title: 'the store', open: (offset) => createReadStream(store.blobPath(digest), { start: offset }) };
  }
  if (diffId === undefined) return;
  const known = origins(store, diffId).find((origin) => origin.digest === digest);
  const tar = digest !== diffId && hasLayer(store, diffId) ? layerTarPath(store, diffId) : undefined;
  const form = known?.form === undefined ? undefined : packedForm(known.form);
  if (tar !== undefined && form !== undefined) yield makeAgain(tar, form, signal);
  for (const name of known?.repositories ?? []) {
    if (name === except) continue;
    const repository = registries.named(name);
    try {
      if ((await repository.headBlob(digest)) === undefined) {
        failures.push(`${name}: it has them no more`);
        continue;
      }
    } catch (error) {
      signal?.throwIfAborted();
      failures.push(`${name}: ${messageOf(error)}`);
      continue;
    }
    yield { title: name, open: (offset) => repository.readBlob(descriptor, { offset, signal }) };
  }
  const kind = layerKind(descriptor.mediaType)?.compression;
  if (tar === undefined || form !== undefined || (kind !== 'gzip' && kind !== 'zstd')) return;
  const guess = { ...defaultForm(kind), kind };
  if (await makesSame(tar, guess, descriptor, signal)) yield makeAgain(tar, guess, signal);
}

function packedForm(text: string): PackedForm | undefined {
  try {
    const { kind, level } = parseForm(text);
    return kind === 'none' ? undefined : { kind, level };
  } catch (error) {
    if (error instanceof ImagoError) return undefined;
    throw error;
  }
}

function makeAgain(tar: string, form: PackedForm, signal: AbortSignal | undefined): BytesSource {
  return { title: 'compressing it again', open: (offset) => skipBytes(compressFile(tar, form, { signal }), offset) };
}

/** The proof: the usual form of this tar has the wanted digest. Sends nothing. */
async function makesSame(
  tar: string,
  form: PackedForm,
  want: Descriptor,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const algorithm = digestAlgorithm(want.digest);
  const hash = createHash(algorithm);
  let size = 0;
  for await (const bytes of compressFile(tar, form, { signal })) {
    size += bytes.length;
    if (size > want.size) return false;
    hash.update(bytes);
  }
  return `${algorithm}:${hash.digest('hex')}` === want.digest;
}

/** Whose failure it was: a client tells of a source that failed only that something broke. */
function watchSource(open: OpenBytes): { open: OpenBytes; failure: unknown } {
  const watched = {
    failure: undefined as unknown,
    async *open(offset: number): AsyncGenerator<Uint8Array> {
      try {
        yield* open(offset);
      } catch (error) {
        watched.failure = error;
        throw error;
      }
    },
  };
  return watched;
}

function bytesGone(descriptor: Descriptor, diffId: Digest | undefined, failures: readonly string[]): ImagoError {
  const { digest } = descriptor;
  if (diffId === undefined) {
    return new ImagoError('BLOB_MISSING', 'a part of the image is not here', {
      want: digest,
      got: failures.join('; ') || undefined,
      remedy: 'pull the image again',
    });
  }
  const found = failures.length === 0 ? 'no place is known that has them' : failures.join('; ');
  return new ImagoError('LAYER_BYTES_GONE', `the compressed bytes of layer ${shortId(diffId)} are nowhere to be had`, {
    op: 'push',
    ref: digest,
    want: digest,
    got: found,
    remedy:
      "they were not kept ('imago pull --keep-blobs' does), and other bytes would change the image's digest: push again when the registry that it came from can be reached, or make new layers and a new digest with --recompress",
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
