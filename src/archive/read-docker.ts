import type { Digest } from '../core/digest.ts';
import { platformOf } from '../image/image.ts';
import { parseConfig } from '../oci/config.ts';
import { type Field, parseJson } from '../oci/json.ts';
import { matchPlatform } from '../oci/platform.ts';
import { formatReference, parseReference } from '../oci/reference.ts';
import { digestOf } from '../store/blobs.ts';
import { type ArchiveContent, cleanName, missingFile } from './content.ts';
import { checkLayerCount, type PlannedImage, type PlanOptions, parseFile } from './plan.ts';
import { mismatch } from './read-oci.ts';

interface DockerItem {
  config: string;
  names: string[];
  layers: string[];
}

/**
 * `manifest.json` of a Docker archive (Docker Image Specification v1.2 §Combined Image JSON + Filesystem Changeset
 * Format): a list of {Config, RepoTags, Layers}, the lowest layer first. Throws `BAD_MANIFEST`.
 */
function readItems(content: ArchiveContent): DockerItem[] {
  const bytes = content.read('manifest.json')!;
  return parseFile(content, 'manifest.json', () => {
    const root = parseJson(bytes, 'BAD_MANIFEST', 'manifest');
    if (!Array.isArray(root.value)) throw root.bad('a list');
    return root.list().map((item) => ({
      config: item.get('Config').nonEmpty(),
      names: item.get('RepoTags').list().map(readTag),
      layers: item
        .get('Layers')
        .list()
        .map((layer) => layer.nonEmpty()),
    }));
  });
}

function readTag(field: Field): string {
  const reference = parseReference(field.nonEmpty());
  if (reference.digest !== undefined) throw field.bad('a name with a tag, without a digest');
  return formatReference(reference);
}

/** The images of a Docker archive without an OCI layout. Throws `BAD_MANIFEST`, `BAD_CONFIG`, `BLOB_MISSING`. */
export function planDockerArchive(content: ArchiveContent, options: PlanOptions): PlannedImage[] {
  const images = readItems(content).map((item) => planItem(content, item));
  const { platform } = options;
  if (platform === undefined || images.length === 0) return images;
  const fitting = images.filter((image) => matchPlatform(platform, image.platform));
  if (fitting.length > 0) return fitting;
  throw mismatch(
    platform,
    images.map((image) => image.platform),
    undefined,
  );
}

function planItem(content: ArchiveContent, item: DockerItem): PlannedImage {
  const bytes = content.read(item.config);
  if (bytes === undefined) throw missingFile(content.title, item.config);
  const { value } = parseFile(content, item.config, () => parseConfig(bytes));
  checkLayerCount(value, item.layers.length, item.config);
  const outside = item.layers.find((file) => cleanName(file) === undefined);
  if (outside !== undefined) throw missingFile(content.title, outside);
  return {
    names: item.names,
    config: bytes,
    // Not from the file's name: it has said "sha256:<hex>", "<hex>.json" and "config.json".
    id: digestOf(bytes),
    platform: platformOf(value),
    layers: item.layers.map((file, i) => ({ file, diffId: value.rootfs.diff_ids[i]! })),
  };
}

/** Names in the manifest.json of an archive that is an OCI layout too, by the digest of the config. */
export function readDockerNames(content: ArchiveContent): Map<Digest, string[]> {
  const out = new Map<Digest, string[]>();
  if (!content.has('manifest.json')) return out;
  for (const { config, names } of readItems(content)) {
    const bytes = content.read(config);
    if (bytes !== undefined) out.set(digestOf(bytes), names);
  }
  return out;
}
