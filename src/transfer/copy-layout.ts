import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import type { ArchiveContent } from '../archive/content.ts';
import { blobName, missingFile } from '../archive/content.ts';
import { DirectoryContent } from '../archive/directory.ts';
import { parseFile, readDocument } from '../archive/plan.ts';
import { planDockerArchive, readDockerNames } from '../archive/read-docker.ts';
import { IMAGE_NAME, REF_NAME } from '../archive/read-oci.ts';
import { type Region, readRegion } from '../archive/region.ts';
import { TarFileContent } from '../archive/tar-file.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { type ImageIndex, type ImageManifest, parseManifest } from '../oci/manifest.ts';
import { isManifestType, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { formatReference, parseReference } from '../oci/reference.ts';
import { digestOf } from '../store/blobs.ts';
import { checkBytes, type OpenBytes } from '../system/checked-bytes.ts';
import { detectCompression, MAGIC_LENGTH } from '../system/compression.ts';
import type { CopyDocument, CopySource } from './copy-ends.ts';

type Content = ArchiveContent & { find(name: string): Region | undefined };

/** An OCI layout (directory or tar) or a Docker archive, whichever it turns out to be. */
export function openLayoutSource(transport: string, path: string, name: string | undefined): CopySource {
  const content = openContent(path);
  try {
    if (content.has('index.json')) return new LayoutSource(content, chooseTop(content, name));
    if (content.has('manifest.json')) return new DockerSource(content, name);
  } catch (error) {
    content[Symbol.dispose]();
    throw error;
  }
  content[Symbol.dispose]();
  throw new ImagoError('UNKNOWN_ARCHIVE', `${content.title} is neither an OCI layout nor a Docker archive`, {
    want: `what ${transport}: names`,
    got: 'neither index.json nor manifest.json in it',
  });
}

function openContent(path: string): Content {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImagoError('NO_SUCH_FILE', `there is no '${path}'`);
  if (stat.isDirectory()) return new DirectoryContent(path);
  const head = readRegion(`'${path}'`, path, { path, offset: 0, length: Math.min(MAGIC_LENGTH, stat.size) });
  const compression = detectCompression(head);
  if (compression === 'none' && stat.isFile()) return new TarFileContent(path);
  throw new ImagoError('ARCHIVE_COMPRESSED', `'${path}' cannot be read where it lies`, {
    want: 'an uncompressed tar',
    got: stat.isFile() ? `one compressed by ${compression}` : 'no ordinary file',
    remedy: "unpack it first, or bring it in with 'imago load'",
  });
}

/** A blob of a file: its bytes where they lie. */
function openRegion({ path, offset, length }: Region): OpenBytes {
  return (from) =>
    from >= length ? nothing() : createReadStream(path, { start: offset + from, end: offset + length - 1 });
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

class LayoutSource implements CopySource {
  readonly title: string;
  readonly #content: Content;
  readonly #top: Descriptor;

  constructor(content: Content, top: Descriptor) {
    this.title = content.title;
    this.#content = content;
    this.#top = top;
  }

  readTop(): Promise<CopyDocument> {
    return this.readDocument(this.#top);
  }

  async readDocument({ digest, size, mediaType }: Descriptor): Promise<CopyDocument> {
    return { bytes: readDocument(this.#content, blobName(digest), { digest, size }), mediaType, digest };
  }

  async sendBlob(descriptor: Descriptor, send: (open: OpenBytes) => Promise<void>): Promise<void> {
    const region = this.#content.find(blobName(descriptor.digest));
    if (region === undefined) throw missingFile(this.title, blobName(descriptor.digest), descriptor.digest);
    await send(checkBytes(descriptor, openRegion(region), this.title));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#content[Symbol.dispose]();
  }
}

/** By tag, by name in full, or by digest; without a name there must be one image only. */
function chooseTop(content: Content, name: string | undefined): Descriptor {
  const bytes = content.read('index.json')!;
  const { value } = parseFile(content, 'index.json', () => parseManifest(bytes, { mediaType: MEDIA_TYPES.index }));
  const { manifests } = value as ImageIndex;
  const named = name === undefined ? manifests : manifests.filter((d) => isNamed(content, d, name));
  const found = new Map(named.map((descriptor) => [descriptor.digest, descriptor]));
  const [first] = found.values();
  if (first !== undefined && found.size === 1) return bareDescriptor(first);
  const names = manifests.map((d) => d.annotations?.[REF_NAME] ?? d.annotations?.[IMAGE_NAME] ?? d.digest);
  throw new ImagoError(
    found.size === 0 ? 'IMAGE_NOT_FOUND' : 'AMBIGUOUS_NAME',
    found.size === 0 ? `there is no such image in ${content.title}` : `${content.title} has more than one image`,
    {
      ...(name === undefined ? {} : { want: name }),
      got: names.length === 0 ? 'an empty index' : names.slice(0, 20).join(', '),
      remedy: 'put one of these behind the path, after a colon',
    },
  );
}

function isNamed(content: Content, descriptor: Descriptor, name: string): boolean {
  const { annotations, digest } = descriptor;
  const names = [annotations?.[REF_NAME], annotations?.[IMAGE_NAME]];
  if (digest === name || names.includes(name)) return true;
  const full = normalize(name);
  if (full === undefined) return false;
  if (names.some((known) => known !== undefined && normalize(known) === full)) return true;
  return isManifestType(descriptor.mediaType) && dockerNames(content, descriptor).includes(full);
}

/** Names that only the manifest.json beside the layout tells. */
function dockerNames(content: Content, descriptor: Descriptor): string[] {
  const file = blobName(descriptor.digest);
  const bytes = content.has(file) ? readDocument(content, file, descriptor) : undefined;
  if (bytes === undefined) return [];
  const parsed = parseFile(content, file, () => parseManifest(bytes, descriptor));
  return parsed.kind === 'image' ? (readDockerNames(content).get(parsed.value.config.digest) ?? []) : [];
}

function normalize(name: string): string | undefined {
  try {
    return formatReference(parseReference(name));
  } catch (error) {
    if (error instanceof ImagoError) return undefined;
    throw error;
  }
}

/**
 * A Docker archive of the old kind has no manifest: it gets the one that a load gives it, which names the files as they
 * are in the archive. Always the same one.
 */
class DockerSource implements CopySource {
  readonly title: string;
  readonly #content: Content;
  readonly #files: Map<Digest, Uint8Array | Region> = new Map();
  readonly #name: string | undefined;

  constructor(content: Content, name: string | undefined) {
    this.title = content.title;
    this.#content = content;
    this.#name = name;
  }

  async readTop(): Promise<CopyDocument> {
    const images = planDockerArchive(this.#content, {});
    const name = this.#name;
    const full = name === undefined ? undefined : normalize(name);
    const found = images.filter(({ names, id }) => name === undefined || id === name || names.includes(full ?? ''));
    const [image] = found;
    if (image === undefined || found.length > 1) {
      const got = images.map(({ names, id }) => names[0] ?? id).slice(0, 20);
      throw new ImagoError(
        image === undefined ? 'IMAGE_NOT_FOUND' : 'AMBIGUOUS_NAME',
        image === undefined ? `there is no such image in ${this.title}` : `${this.title} has more than one image`,
        { got: got.join(', '), remedy: 'put one of these behind the path, after a colon' },
      );
    }
    this.#files.set(image.id, image.config);
    const layers: Descriptor[] = [];
    for (const { file, diffId } of image.layers) layers.push(await this.#describeLayer(file, diffId));
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: { mediaType: MEDIA_TYPES.config, digest: image.id, size: image.config.length },
      layers,
    };
    const bytes = encodeJson(manifest);
    return { bytes, digest: digestOf(bytes), mediaType: MEDIA_TYPES.manifest };
  }

  async #describeLayer(file: string, diffId: Digest): Promise<Descriptor> {
    const region = this.#content.find(file);
    if (region === undefined) throw missingFile(this.title, file, diffId);
    const head = readRegion(this.title, file, { ...region, length: Math.min(MAGIC_LENGTH, region.length) });
    const compression = detectCompression(head);
    if (compression === 'bzip2' || compression === 'xz') {
      throw new ImagoError('BAD_LAYER_COMPRESSION', `'${file}' in ${this.title} is compressed by ${compression}`, {
        want: 'gzip, zstd or none',
      });
    }
    const digest = compression === 'none' ? diffId : await hashRegion(region);
    this.#files.set(digest, region);
    return { mediaType: layerMediaType(compression), digest, size: region.length };
  }

  async readDocument({ digest }: Descriptor): Promise<CopyDocument> {
    throw missingFile(this.title, blobName(digest), digest);
  }

  async sendBlob(descriptor: Descriptor, send: (open: OpenBytes) => Promise<void>): Promise<void> {
    const file = this.#files.get(descriptor.digest);
    if (file === undefined) throw missingFile(this.title, blobName(descriptor.digest), descriptor.digest);
    const open: OpenBytes = file instanceof Uint8Array ? (from) => once(file.subarray(from)) : openRegion(file);
    await send(checkBytes(descriptor, open, this.title));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#content[Symbol.dispose]();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function hashRegion(region: Region): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of openRegion(region)(0)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
