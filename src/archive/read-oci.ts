import { ImagoError } from '../core/errors.ts';
import { defaultPlatform, platformOf } from '../image/image.ts';
import { parseConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseJson } from '../oci/json.ts';
import { type ParsedImage, parseManifest } from '../oci/manifest.ts';
import { isConfigType, isIndexType, isManifestType, MEDIA_TYPES } from '../oci/media-types.ts';
import { formatPlatform, matchPlatform, type Platform, selectPlatform } from '../oci/platform.ts';
import { formatReference, parseReference } from '../oci/reference.ts';
import { type ArchiveContent, blobName } from './content.ts';
import { checkLayerCount, type PlannedImage, type PlanOptions, parseFile, readDocument } from './plan.ts';

/** OCI image-spec v1.1.1, annotations.md; containerd's and Docker's name in full. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
export const IMAGE_NAME = 'io.containerd.image.name';

/** Indexes inside indexes: the specification sets no end, people do not pass two. */
const MAX_DEPTH = 4;

/**
 * The images of an OCI image layout (image-spec v1.1.1, image-layout.md): all that its index names; of those that
 * differ by platform alone, one. Throws `BAD_LAYOUT`, `BAD_MANIFEST`, `BAD_CONFIG`, `BLOB_MISSING`,
 * `DIGEST_MISMATCH`, `PLATFORM_MISMATCH`.
 */
export function planOciLayout(content: ArchiveContent, options: PlanOptions): PlannedImage[] {
  checkLayoutVersion(content);
  const index = content.read('index.json')!;
  const root = parseFile(content, 'index.json', () => parseManifest(index, { mediaType: MEDIA_TYPES.index }));
  if (root.kind !== 'index') throw badLayout(content, 'index.json is not an image index');
  const groups = new Map<string, Group>();
  for (const [i, descriptor] of root.value.manifests.entries()) {
    const name = nameOf(descriptor, options);
    // What has no name belongs together only if it differs by platform.
    const key = name ?? (descriptor.platform === undefined ? `#${i}` : '');
    const group = groups.get(key) ?? { name, images: [], choice: false };
    groups.set(key, group);
    addDescriptor(content, descriptor, group, 0);
  }
  const found = [...groups.values()].flatMap((group) => chooseImages(group, options));
  if (found.length > 0) return found;
  throw new ImagoError('NO_IMAGE', `there is no image in ${content.title}`, {
    got: root.value.manifests.length === 0 ? 'an empty index' : 'artifacts, or images whose manifests are missing',
    remedy: 'make the archive again, with an image in it',
  });
}

/** What goes by one name. */
interface Group {
  name: string | undefined;
  images: PlannedImage[];
  /** An index was met: its images are the same thing for several platforms. */
  choice: boolean;
}

function checkLayoutVersion(content: ArchiveContent): void {
  const bytes = content.read('oci-layout');
  if (bytes === undefined) throw badLayout(content, "the file 'oci-layout' is missing");
  parseFile(content, 'oci-layout', () => {
    const version = parseJson(bytes, 'BAD_LAYOUT', 'layout').get('imageLayoutVersion');
    if (version.string() !== '1.0.0') throw version.bad('"1.0.0"');
  });
}

function badLayout(content: ArchiveContent, problem: string): ImagoError {
  return new ImagoError('BAD_LAYOUT', `${content.title} is not a valid OCI image layout: ${problem}`, {
    remedy: 'make the archive again, or ask who made it',
  });
}

/** Docker's load takes containerd's name, else the reference name as if it were typed. */
function nameOf({ annotations }: Descriptor, { onBadName }: PlanOptions): string | undefined {
  const text = annotations?.[IMAGE_NAME] || annotations?.[REF_NAME];
  if (!text) return undefined;
  try {
    const { digest, ...reference } = parseReference(text);
    if (digest === undefined || reference.tag !== undefined) return formatReference(reference);
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    onBadName?.(text);
  }
  return undefined;
}

function addDescriptor(content: ArchiveContent, descriptor: Descriptor, group: Group, depth: number): void {
  const { mediaType, digest, platform, artifactType } = descriptor;
  // Attestations (BuildKit: platform unknown/unknown) and other artifacts are no images.
  if (platform?.os === 'unknown' || artifactType !== undefined) return;
  if (!isIndexType(mediaType) && !isManifestType(mediaType)) return;
  const name = blobName(digest);
  // An index may name what was left out when the archive was made (docker save --platform); index.json may not.
  if (depth > 0 && !content.has(name)) return;
  const bytes = readDocument(content, name, descriptor);
  const parsed = parseFile(content, name, () => parseManifest(bytes, { mediaType, digest }));
  if (parsed.kind === 'image') {
    const image = planImage(content, parsed, descriptor);
    if (image !== undefined && !group.images.some(({ id }) => id === image.id)) group.images.push(image);
    return;
  }
  if (depth >= MAX_DEPTH) throw badLayout(content, `indexes are nested more than ${MAX_DEPTH} deep`);
  group.choice = true;
  for (const child of parsed.value.manifests) addDescriptor(content, child, group, depth + 1);
}

function planImage(content: ArchiveContent, parsed: ParsedImage, descriptor: Descriptor): PlannedImage | undefined {
  const { config: configDescriptor, layers } = parsed.value;
  if (!isConfigType(configDescriptor.mediaType)) return undefined;
  const { digest } = descriptor;
  const configName = blobName(configDescriptor.digest);
  const configBytes = readDocument(content, configName, configDescriptor);
  const config = parseFile(content, configName, () => parseConfig(configBytes));
  checkLayerCount(config.value, layers.length, digest);
  const diffIds = config.value.rootfs.diff_ids;
  return {
    names: [],
    config: config.bytes,
    id: configDescriptor.digest,
    platform: descriptor.platform ?? platformOf(config.value),
    layers: layers.map((layer, i) => ({ file: blobName(layer.digest), diffId: diffIds[i]!, descriptor: layer })),
    manifest: { bytes: parsed.bytes, digest, mediaType: parsed.mediaType },
  };
}

function chooseImages({ name, images, choice }: Group, { platform }: PlanOptions): PlannedImage[] {
  if (images.length === 0) return [];
  const named = images.map((image) => ({ ...image, names: name === undefined ? [] : [name] }));
  const platforms = new Set(named.map((image) => formatPlatform(image.platform)));
  // One thing for several platforms, or things that are nobody's choice: without names, and some for one platform.
  const oneThing = choice || name !== undefined || platforms.size === named.length;
  if (platform === undefined && (!oneThing || (named.length === 1 && !choice))) return named;
  const want = platform ?? defaultPlatform();
  const best = selectPlatform(want, named, (image) => image.platform);
  if (best === undefined)
    throw mismatch(
      want,
      named.map((image) => image.platform),
      name,
    );
  return oneThing ? [best] : named.filter((image) => matchPlatform(want, image.platform));
}

export function mismatch(want: Platform, have: Platform[], name: string | undefined): ImagoError {
  return new ImagoError('PLATFORM_MISMATCH', `the archive has no image for this platform`, {
    ref: name,
    want: formatPlatform(want),
    got: [...new Set(have.map(formatPlatform))].join(', '),
    remedy: 'choose one of these with --platform',
  });
}
