import { type Digest, digestAlgorithm, digestHex } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { type Descriptor, readDescriptor } from '../../oci/descriptor.ts';
import { encodeJson, parseJson } from '../../oci/json.ts';
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { deleteManifestOnly, fetchManifest, putManifestBytes } from './manifests.ts';
import { badResponse, contentType, headerOf, nextPage, type Place, requestWhole, scopesFor } from './place.ts';
import type { RegistryRequest, RegistryResponse } from './types.ts';

const MAX_PAGE = 4 * 1024 * 1024;
const MAX_REFERRERS = 100_000;
const MAX_PAGES = 1000;
/** Others that write the same fallback index in between: how often it is read again. */
const MAX_CONFLICTS = 8;

/**
 * What refers to a manifest: signatures, SBOMs and the like. By the referrers API, else by the fallback tag
 * (OCI distribution-spec v1.1.1 §Listing Referrers); filtered here where the registry does not. Empty where nothing
 * does. Throws `BAD_MANIFEST`, `BAD_RESPONSE`, and the transport's errors.
 */
export async function listReferrers(
  place: Place,
  subject: Digest,
  options: { artifactType?: string; signal?: AbortSignal } = {},
): Promise<Descriptor[]> {
  const { artifactType, signal } = options;
  const told = await listByApi(place, subject, artifactType, signal);
  const found = told ?? { list: (await readFallback(place, subject, signal)).list, filtered: false };
  if (artifactType === undefined || found.filtered) return found.list;
  return found.list.filter((descriptor) => descriptor.artifactType === artifactType);
}

/** `sha256-<hex>`, the hex cut to 64 characters. OCI distribution-spec v1.1.1 §Referrers Tag Schema. */
function referrersTag(subject: Digest): string {
  return `${digestAlgorithm(subject)}-${digestHex(subject).slice(0, 64)}`;
}

/** Notes a referrer in the fallback tag's index of a registry that has no referrers API. Others' entries stay. */
export async function attachReferrer(
  place: Place,
  manifest: { bytes: Uint8Array; mediaType: string; digest: Digest },
  subject: Digest,
  signal?: AbortSignal,
): Promise<void> {
  const root = parseJson(manifest.bytes, 'BAD_MANIFEST', 'manifest');
  const own = root.get('artifactType').value;
  const config = root.get('config');
  const artifactType = typeof own === 'string' && own !== '' ? own : config.present && config.get('mediaType').value;
  const annotations = root.get('annotations');
  const entry: Descriptor = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(annotations.present ? { annotations: annotations.value as Record<string, string> } : {}),
  };
  await changeFallback(place, subject, signal, (list) =>
    list.some(({ digest }) => digest === entry.digest) ? list : [...list, entry],
  );
}

/** Takes a referrer out of the fallback tag's index; the tag goes with the last one where the registry can delete. */
export async function detachReferrer(
  place: Place,
  referrer: Digest,
  subject: Digest,
  signal?: AbortSignal,
): Promise<void> {
  await changeFallback(place, subject, signal, (list) =>
    list.some(({ digest }) => digest === referrer) ? list.filter(({ digest }) => digest !== referrer) : list,
  );
}

/** Whether the registry answers the referrers API at all. */
export async function hasReferrersApi(place: Place, subject: Digest, signal?: AbortSignal): Promise<boolean> {
  return (await listByApi(place, subject, undefined, signal)) !== undefined;
}

/** The subject that a manifest names, if any. Throws `BAD_MANIFEST`. */
export function subjectOf(bytes: Uint8Array): Digest | undefined {
  const subject = parseJson(bytes, 'BAD_MANIFEST', 'manifest').get('subject');
  return subject.present ? readDescriptor(subject).digest : undefined;
}

/** Undefined where the registry does not have the API. */
async function listByApi(
  place: Place,
  subject: Digest,
  artifactType: string | undefined,
  signal: AbortSignal | undefined,
): Promise<{ list: Descriptor[]; filtered: boolean } | undefined> {
  const path = `/v2/${place.path}/referrers/${subject}`;
  const asked = new Set<string>();
  const list: Descriptor[] = [];
  let filtered = true;
  let target: string | undefined =
    artifactType === undefined ? path : `${path}?artifactType=${encodeURIComponent(artifactType)}`;
  while (target !== undefined) {
    asked.add(target);
    const request: RegistryRequest = {
      method: 'GET',
      target,
      headers: { accept: MEDIA_TYPES.index },
      scopes: scopesFor(place, 'pull'),
      answers: [200, 404, 405, 501],
      signal,
    };
    const isIndex = (answer: RegistryResponse): boolean =>
      answer.status === 200 && contentType(answer) === MEDIA_TYPES.index;
    const { response, bytes } = await requestWhole(place, request, MAX_PAGE, isIndex);
    // Registries that do not know the path answer with 404, or with the page of their web site.
    if (bytes === undefined) {
      if (asked.size === 1) return undefined;
      throw badResponse(place, response, 'sent no index as a page of referrers');
    }
    list.push(...readIndex(bytes, `referrers of ${subject}`));
    const applied = headerOf(response, 'oci-filters-applied') ?? '';
    filtered &&= applied.split(',').some((name) => name.trim() === 'artifactType');
    target = nextPage(place, response, path);
    if (target === undefined) break;
    if (asked.has(target) || asked.size >= MAX_PAGES || list.length > MAX_REFERRERS) {
      throw badResponse(place, response, 'sends referrers without an end', { got: `${list.length} of them` });
    }
  }
  return { list, filtered };
}

interface Fallback {
  list: Descriptor[];
  digest?: Digest;
  etag?: string;
}

async function readFallback(place: Place, subject: Digest, signal?: AbortSignal): Promise<Fallback> {
  const manifest = await fetchManifest(place, referrersTag(subject), [200, 404], signal);
  if (manifest === undefined) return { list: [] };
  const list = readIndex(manifest.bytes, `index ${place.name}:${referrersTag(subject)}`);
  return { list, digest: manifest.digest, etag: manifest.etag };
}

/** Read, change, write; again where somebody else wrote in between and the registry notices (If-Match). */
async function changeFallback(
  place: Place,
  subject: Digest,
  signal: AbortSignal | undefined,
  change: (list: Descriptor[]) => Descriptor[],
): Promise<void> {
  const tag = referrersTag(subject);
  for (let tries = 0; tries < MAX_CONFLICTS; tries++) {
    const before = await readFallback(place, subject, signal);
    const list = change(before.list);
    if (list === before.list) return;
    const bytes = encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: list });
    const answer = await putManifestBytes(place, tag, bytes, MEDIA_TYPES.index, {
      condition: conditionOf(before),
      answers: [412],
      signal,
    });
    if (answer.status === 412) continue;
    // §Referrers Tag Schema: the index that is replaced should go. Registries that do not delete keep it.
    if (before.digest !== undefined && before.digest !== answer.digest) await tryDelete(place, before.digest, signal);
    if (list.length === 0) await tryDelete(place, answer.digest, signal);
    return;
  }
  throw new ImagoError('REFERRERS_CONFLICT', 'others kept changing the list of referrers', {
    ref: `${place.name}:${tag}`,
    got: `${MAX_CONFLICTS} tries`,
    remedy: 'push again',
  });
}

/** RFC 9110 §13.1: only where the index is still the one that was read. Registries without conditions ignore it. */
function conditionOf({ digest, etag }: Fallback): Record<string, string> {
  if (digest === undefined) return { 'if-none-match': '*' };
  return etag === undefined ? {} : { 'if-match': etag };
}

async function tryDelete(place: Place, digest: Digest, signal: AbortSignal | undefined): Promise<void> {
  try {
    await deleteManifestOnly(place, digest, signal);
  } catch (error) {
    if (!(error instanceof ImagoError) || signal?.aborted) throw error;
  }
}

function readIndex(bytes: Uint8Array, what: string): Descriptor[] {
  const root = parseJson(bytes, 'BAD_MANIFEST', what);
  if (!root.get('manifests').present && root.get('layers').present) throw root.get('manifests').bad('an index');
  return root.get('manifests').list().map(readDescriptor);
}
