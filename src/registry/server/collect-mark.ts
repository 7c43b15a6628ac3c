import { type Digest, isDigest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { RegistryStorage } from '../storage/storage.ts';
import { type ParsedKey, parseKey, REPOSITORIES_PREFIX } from './keys.ts';
import { mapBounded } from './parallel.ts';

/** What the manifests of all repositories need, as far as they were listed. */
export interface Marks {
  /** Manifests, and the blobs that they name. */
  needed: Set<Digest>;
  /** Manifests whose bytes were read: they never change. */
  read: Set<Digest>;
  manifests: number;
}

/** A key below `repositories/` of a kind that the collector knows. */
export type ListedKey = { key: string; modified: number; parsed: ParsedKey };

/** All keys of repositories, by pages. */
export async function* listRepositoryKeys(
  storage: RegistryStorage,
  prefix: string = REPOSITORIES_PREFIX,
): AsyncGenerator<ListedKey[]> {
  for (let after: string | undefined; ; ) {
    const page = await storage.listDocuments(prefix, after === undefined ? {} : { after });
    yield page.keys.flatMap(({ key, modified }) => {
      const parsed = parseKey(key);
      return parsed === undefined ? [] : [{ key, modified, parsed }];
    });
    if (page.next === undefined) return;
    after = page.next;
  }
}

/** Adds what the manifests among these keys need. */
export async function markManifests(storage: RegistryStorage, keys: ListedKey[], marks: Marks): Promise<void> {
  const manifests = keys.flatMap(({ parsed }) => (parsed.kind === 'manifest' ? [parsed.digest] : []));
  marks.manifests += manifests.length;
  const unread = [...new Set(manifests)].filter((digest) => !marks.read.has(digest));
  await mapBounded(unread, async (digest) => {
    const named = await readNamedBlobs(storage, digest);
    marks.needed.add(digest);
    for (const blob of named ?? []) marks.needed.add(blob);
    if (named !== undefined) marks.read.add(digest);
  });
}

/** The blobs that a stored manifest names; undefined where its bytes are gone. Throws `STORAGE_DAMAGED`. */
export async function readNamedBlobs(storage: RegistryStorage, digest: Digest): Promise<Digest[] | undefined> {
  const manifest = await readManifest(storage, digest);
  return manifest && ['config', 'layers', 'blobs'].flatMap((name) => digestsOf(manifest[name]));
}

/** The manifests that a stored index names. */
export async function readChildren(storage: RegistryStorage, digest: Digest): Promise<Digest[]> {
  return digestsOf((await readManifest(storage, digest))?.manifests);
}

/** Whatever was accepted is read leniently: what a manifest may need is kept. */
async function readManifest(storage: RegistryStorage, digest: Digest): Promise<Record<string, unknown> | undefined> {
  const blob = await storage.openBlob(digest);
  if (blob === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of blob.stream) chunks.push(chunk);
  try {
    return Object(JSON.parse(Buffer.concat(chunks).toString('utf8'))) as Record<string, unknown>;
  } catch (cause) {
    throw new ImagoError(
      'STORAGE_DAMAGED',
      `manifest ${digest} in the storage cannot be read: what it needs is not known`,
      {
        ref: digest,
        remedy: 'push it again or delete it; until then nothing is collected',
        cause,
      },
    );
  }
}

function digestsOf(descriptors: unknown): Digest[] {
  const list: unknown[] = Array.isArray(descriptors) ? descriptors : [descriptors];
  return list.flatMap((item) => {
    const digest = (item as { digest?: unknown } | null | undefined)?.digest;
    return typeof digest === 'string' && isDigest(digest) ? [digest] : [];
  });
}
