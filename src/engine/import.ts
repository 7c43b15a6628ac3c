import { type Stats, statSync } from 'node:fs';
import { displayName } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { appendLayer, emptyDraft, tarLayer, writeImage } from '../image/draft.ts';
import { defaultPlatform } from '../image/image.ts';
import { parseTag } from '../image/tag-by-name.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import type { Platform } from '../oci/platform.ts';
import { formatReference } from '../oci/reference.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { LayerSource } from '../store/layer-options.ts';
import type { Store } from '../store/store.ts';

export interface ImportOptions {
  /** The new image's name; without it the image is known by its ID alone. */
  reference?: string;
  /** Dockerfile instructions; see `applyChanges`. */
  changes?: readonly string[];
  /** Default: where it came from. */
  message?: string;
  /** Default: this machine's. */
  platform?: Platform;
  signal?: AbortSignal;
  /** Bytes of the source; the total where it is known. */
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface ImportedImage {
  id: Digest;
  /** In full. */
  reference: string | undefined;
}

/**
 * Makes an image of one layer from the tar of a root file system, compressed or not: a path, an http(s) URL, or a
 * stream. Throws `BAD_REFERENCE`, `BAD_CHANGE`, `DOWNLOAD_FAILED`, and what `ingestLayer` throws.
 */
export async function importImage(
  store: Store,
  source: string | AsyncIterable<Uint8Array>,
  options: ImportOptions = {},
): Promise<ImportedImage> {
  // What can be wrong with the options is found before gigabytes are read.
  const reference = options.reference === undefined ? undefined : formatReference(parseTag(options.reference));
  const base = emptyDraft(options.platform ?? defaultPlatform());
  const changes = options.changes ?? [];
  const draft = changes.length === 0 ? base : (await import('./change.ts')).applyChanges(base, changes);
  using lease = store.lease('import');
  const { signal, onProgress } = options;
  const layer = await ingestLayer(store, lease, await openSource(source, signal), { signal, onProgress });
  const [link] = layer.facts.lowerLinks;
  if (link !== undefined) {
    throw new ImagoError('BAD_HARDLINK', 'hardlink to what is not in the archive', {
      path: displayName(link.path),
      got: JSON.stringify(displayName(link.target)),
      remedy: 'pack the whole root file system',
    });
  }
  const created = creationTime();
  const comment = options.message ?? `Imported from ${typeof source === 'string' ? source : '-'}`;
  const { id, descriptor } = writeImage(store, lease, appendLayer(draft, tarLayer(layer), { created, comment }));
  if (reference === undefined) keepUntagged(store, descriptor);
  else tagImage(store, reference, descriptor);
  return { id, reference };
}

async function openSource(source: string | AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<LayerSource> {
  if (typeof source !== 'string') return source;
  if (/^https?:\/\//.test(source)) return download(source, signal);
  const stat: Stats | undefined = statSync(source, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImagoError('NO_SUCH_FILE', `'${source}' does not exist`);
  if (stat.isDirectory()) {
    throw new ImagoError('NOT_AN_ARCHIVE', `'${source}' is a directory`, {
      remedy: `pack it: tar -C '${source}' -c . | imago import -`,
    });
  }
  if (stat.isFile()) return { path: source };
  const { createReadStream } = await import('node:fs');
  return createReadStream(source, { highWaterMark: 256 * 1024 });
}

async function download(url: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  let response: Response;
  try {
    response = await fetch(url, signal === undefined ? {} : { signal });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new ImagoError('DOWNLOAD_FAILED', `cannot download ${url}: ${reason}`, { cause });
  }
  if (response.ok && response.body !== null) return response.body;
  throw new ImagoError('DOWNLOAD_FAILED', `cannot download ${url}`, {
    got: `HTTP ${response.status} ${response.statusText}`,
  });
}

/** RFC 3339; SOURCE_DATE_EPOCH (reproducible-builds.org) makes it the same each time. */
function creationTime(): string {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  return (
    epoch !== undefined && /^[0-9]{1,12}$/.test(epoch) ? new Date(Number(epoch) * 1000) : new Date()
  ).toISOString();
}
