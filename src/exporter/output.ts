import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import { writeLayoutDirectory } from '../archive/write-directory.ts';
import { writeFileWhole } from '../archive/write-file.ts';
import { type ArchiveSink, writeLayoutTar } from '../archive/write-tar.ts';

import { ImageFiles } from '../build/context/image-source.ts';
import { formatEpoch } from '../build/epoch.ts';

import type { BuildProgress, StepProgress } from '../build/events.ts';
import { type BuildFacts, composeProvenance } from '../build/provenance.ts';

import { limitTimes, rewriteTimes } from '../build/reproducible.ts';
import { composeSbom } from '../build/sbom/sbom.ts';

import { byteString } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { composeStatement, type Predicate } from '../image/attestation.ts';
import type { ImageDraft } from '../image/draft.ts';
import { parseTag } from '../image/tag-by-name.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { familiarReference, formatReference, type Reference } from '../oci/reference.ts';
import { DEFAULT_FORM } from '../store/compression-form.ts';
import { Ingest } from '../store/ingest.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { composeOutputLayout } from './output-archive.ts';
import { writeFilesDirectory } from './output-directory.ts';
import { type FileResult, fileSubjects, writeFilesTar } from './output-files.ts';
import { type ComposedImage, composeImage, type PlatformImage } from './output-image.ts';
import { fileForm, type LayerFiles, storeForm } from './output-layers.ts';
import type { Annotation, AttestOptions, BuildOutput } from './output-options.ts';
import { pushedForm, pushOutput } from './output-push.ts';

/** What a build made for one platform. */
export interface BuiltPlatform {
  platform: Platform;
  draft: ImageDraft;
  /** What a scanner found of it. */
  sbom?: readonly Predicate[];
}

export interface OutputRequest {
  store: Store;
  /** Holds the layers. */
  lease: Lease;
  images: readonly BuiltPlatform[];
  /** An index of images, or a directory each, also where there is one. */
  multiPlatform: boolean;
  /** Of `--tag`. */
  references: readonly Reference[];
  /** None: an image in the store. */
  outputs: readonly BuildOutput[];
  annotations: readonly Annotation[];
  attest: AttestOptions;
  /** The build so far; told in a provenance. */
  facts: Omit<BuildFacts, 'invocationId' | 'finished'>;
  epoch?: Date;
  /** Of all outputs. */
  rewriteTimestamp?: boolean;
  /** Where dest=- goes. */
  stdout?: ArchiveSink;
  progress: BuildProgress;
  signal?: AbortSignal;
}

export interface OutputResult {
  /** Of one platform the config's digest, of several the index's. Of a result that is files alone, nothing has it. */
  id: Digest;
  /** What the names stand for. */
  descriptor: Descriptor;
  /** Each one's image, in the order asked for. */
  platforms: { platform: Platform; id: Digest; descriptor: Descriptor }[];
  /** As people type them. */
  references: string[];
  /** Keys and values as in docker buildx's metadata file. */
  metadata: Record<string, unknown>;
}

/** Makes of a build's result what was asked for, one after the other. */
export async function writeOutputs(request: OutputRequest): Promise<OutputResult> {
  return await new OutputWriter(request).write();
}

/** The usual one, and that of flags beside `--output`. Throws `BAD_OUTPUT` for what cannot go together. */
export function chooseOutputs(
  outputs: readonly BuildOutput[],
  { push = false, load = false }: { push?: boolean; load?: boolean } = {},
): BuildOutput[] {
  if (outputs.length === 0) return [{ type: push ? 'registry' : 'image' }];
  const isImage = ({ type }: BuildOutput): boolean => type === 'image' || type === 'registry';
  const chosen = outputs.map((output) => (push && isImage(output) ? { ...output, push: true } : output));
  if (push && !outputs.some(isImage)) chosen.push({ type: 'registry' });
  if (load && !outputs.some((output) => isImage(output) || isLoad(output))) chosen.push({ type: 'image' });
  const places = chosen.map(({ dest }) => dest).filter((dest) => dest !== undefined);
  const twice = places.find((dest, i) => places.indexOf(dest) !== i);
  if (twice === undefined) return chosen;
  throw new ImagoError('BAD_OUTPUT', 'two outputs go to the same place', { got: twice, remedy: 'give each its own' });
}

function checkNames(predicates: readonly Predicate[]): void {
  const names = predicates.map(({ fileName }) => fileName);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new ImagoError('BAD_SCAN', `two attestations would be called ${twice}`, { remedy: 'leave one of them out' });
}

/** type=docker without a file: into the store. */
function isLoad({ type, dest }: BuildOutput): boolean {
  return type === 'docker' && dest === undefined;
}

class OutputWriter {
  readonly #request: OutputRequest;
  readonly #facts: BuildFacts;
  /** By draft and time. */
  readonly #rewritten: Map<string, Promise<ImageDraft>> = new Map();
  #result: { composed: ComposedImage; names: Reference[] } | undefined;

  constructor(request: OutputRequest) {
    this.#request = request;
    this.#facts = { ...request.facts, invocationId: randomUUID().replaceAll('-', ''), finished: new Date() };
  }

  async write(): Promise<OutputResult> {
    const { outputs, progress } = this.#request;
    for (const output of outputs) {
      if (output.type === 'cacheonly') continue;
      const what = isLoad(output) || output.type === 'registry' ? 'image' : output.type;
      await progress.step(
        `exporting to ${what === 'docker' ? 'docker image format' : what === 'oci' ? 'oci image format' : what}`,
        async (step) => {
          await this.#export(output, step);
          return { value: undefined };
        },
      );
    }
    const { composed, names } = this.#result ?? { composed: await this.#composeAlone(), names: [] };
    return this.#tell(composed, names);
  }

  async #export(output: BuildOutput, step: StepProgress): Promise<void> {
    switch (output.type) {
      case 'image':
      case 'registry':
        return await this.#image(output, step);
      case 'docker':
        return isLoad(output) ? await this.#image(output, step) : await this.#archive(output, step);
      case 'oci':
        return await this.#archive(output, step);
      case 'local':
      case 'tar':
        return await this.#files(output, step);
      case 'cacheonly':
    }
  }

  async #image(output: BuildOutput, step: StepProgress): Promise<void> {
    const { store, lease, signal } = this.#request;
    const names = this.#names(output);
    const push = output.type === 'registry' || output.push === true || output.pushByDigest === true;
    const note = (text: string): void => step.note(text);
    const drafts: ImageDraft[] = [];
    for (const draft of await this.#drafts(output, step)) {
      const { compression, forceCompression: force = false } = output;
      if (push) drafts.push(await pushedForm({ store, output, note, signal }, draft, names[0]!));
      else if (compression === undefined && !force) drafts.push(draft);
      else
        drafts.push(
          await storeForm({ store, lease, note, signal }, draft, { compression: compression ?? DEFAULT_FORM, force }),
        );
    }
    const composed = await this.#compose(output, drafts, names, step);
    for (const { bytes } of composed.blobs) store.putBlob(lease, bytes);
    const { descriptor } = composed.root;
    step.note(
      composed.images.length === 1 ? `writing image ${composed.images[0]!.id}` : `writing index ${descriptor.digest}`,
    );
    if (output.pushByDigest !== true) {
      for (const name of names) {
        tagImage(store, formatReference(name), descriptor);
        step.note(`naming to ${formatReference(name)}`);
      }
    }
    if (names.length === 0 || output.pushByDigest === true) keepUntagged(store, descriptor);
    if (push) await pushOutput({ store, output, note, signal }, descriptor, names);
    this.#result = { composed, names };
  }

  async #archive(output: BuildOutput, step: StepProgress): Promise<void> {
    const { store, lease, signal } = this.#request;
    const dest = output.dest!;
    const names = this.#names(output);
    const { compression = DEFAULT_FORM, forceCompression: force = false } = output;
    using ingest = Ingest.create(store, 'output');
    const files: LayerFiles = new Map();
    const drafts: ImageDraft[] = [];
    const context = { store, lease, note: (text: string): void => step.note(text), signal };
    for (const draft of await this.#drafts(output, step)) {
      drafts.push(await fileForm(context, draft, { compression, force }, ingest, files));
    }
    const composed = await this.#compose(output, drafts, names, step);
    const layout = composeOutputLayout(composed, drafts, files, names, output.type === 'docker');
    if (output.tar === false) await writeLayoutDirectory(layout, dest, signal);
    else await this.#toFile(dest, (sink) => writeLayoutTar(layout, sink, signal));
    step.note(`${composed.root.descriptor.digest}${dest === '-' ? '' : ` to ${basename(dest)}`}`);
    this.#result ??= { composed, names };
  }

  async #files(output: BuildOutput, step: StepProgress): Promise<void> {
    const { store, images, signal } = this.#request;
    const epoch = this.#epoch(output);
    const drafts = await this.#drafts(output, step);
    const split = output.platformSplit ?? this.#request.multiPlatform;
    const open: ImageFiles[] = [];
    try {
      const results: FileResult[] = [];
      for (const [i, draft] of drafts.entries()) {
        const files = new ImageFiles(
          store,
          draft.layers.map(({ diffId }) => diffId),
        );
        open.push(files);
        const { platform } = images[i]!;
        const word = formatPlatform(platform).replaceAll('/', '_');
        const extra = await this.#statements(images[i]!, draft, files, step);
        results.push({
          directory: split ? byteString(word) : '',
          files,
          extra: extra.map(({ name, bytes }) => ({
            name: `${output.attestationPrefix ?? ''}${split || images.length === 1 ? name : name.replace(/(?=\.)/, `.${word}`)}`,
            bytes,
          })),
        });
      }
      const options = { epoch, signal };
      if (output.type === 'tar') await this.#toFile(output.dest!, (sink) => writeFilesTar(results, sink, options));
      else {
        const onSkipped = (path: string): void => step.note(`/${path}: a device needs root, and is left out`);
        await writeFilesDirectory(results, output.dest!, { ...options, onSkipped });
      }
    } finally {
      for (const files of open) files[Symbol.dispose]();
    }
  }

  /** Attestations of a result that is files: about each of them. */
  async #statements(
    image: BuiltPlatform,
    draft: ImageDraft,
    files: ImageFiles,
    step: StepProgress,
  ): Promise<{ name: string; bytes: Uint8Array }[]> {
    const predicates = await this.#predicates(image, draft, step);
    checkNames(predicates);
    if (predicates.length === 0) return [];
    const subjects = await fileSubjects(files, this.#request.signal);
    return predicates.map((predicate) => ({
      name: predicate.fileName,
      bytes: Buffer.from(`${JSON.stringify(composeStatement(predicate, subjects), null, 2)}\n`),
    }));
  }

  #epoch({ epoch = this.#request.epoch }: BuildOutput): Date | undefined {
    return epoch ?? undefined;
  }

  /** The drafts in the order of platforms, times rewritten where that is wanted. */
  async #drafts(output: BuildOutput, step: StepProgress): Promise<ImageDraft[]> {
    const { store, lease, images, signal, rewriteTimestamp } = this.#request;
    const epoch = this.#epoch(output);
    const own = output.epoch instanceof Date ? output.epoch : undefined;
    const drafts = images.map(({ draft }) => (own === undefined ? draft : limitTimes(draft, own)));
    if (!(output.rewriteTimestamp ?? rewriteTimestamp ?? false)) return drafts;
    if (epoch === undefined) {
      step.note('rewrite-timestamp is specified, but no SOURCE_DATE_EPOCH');
      return drafts;
    }
    const out: ImageDraft[] = [];
    for (const [i, draft] of drafts.entries()) {
      const key = `${i} ${own === undefined ? '' : formatEpoch(own)}`;
      let rewritten = this.#rewritten.get(key);
      if (rewritten === undefined) {
        step.note(`rewriting times to ${epoch.toISOString()}`);
        rewritten = rewriteTimes(store, lease, draft, epoch, signal);
        this.#rewritten.set(key, rewritten);
      }
      out.push(await rewritten);
    }
    return out;
  }

  async #compose(
    output: BuildOutput,
    drafts: readonly ImageDraft[],
    names: readonly Reference[],
    step?: StepProgress,
  ): Promise<ComposedImage> {
    const { images, annotations } = this.#request;
    const parts: PlatformImage[] = [];
    for (const [i, draft] of drafts.entries()) {
      const image = images[i]!;
      parts.push({ platform: image.platform, draft, predicates: await this.#predicates(image, draft, step) });
    }
    return composeImage(parts, {
      names: names.map(formatReference),
      index: this.#request.multiPlatform,
      annotations: [...annotations, ...(output.annotations ?? [])],
      ociMediaTypes: output.ociMediaTypes ?? (output.type !== 'docker' || isLoad(output)),
      ociArtifact: output.ociArtifact ?? false,
    });
  }

  /** For a result that is files alone: what an image of it would be. */
  async #composeAlone(): Promise<ComposedImage> {
    const { images } = this.#request;
    const parts = images.map(({ platform, draft }) => ({ platform, draft, predicates: [] }));
    const { multiPlatform: index } = this.#request;
    return composeImage(parts, { names: [], index, annotations: [], ociMediaTypes: true, ociArtifact: false });
  }

  async #predicates({ sbom }: BuiltPlatform, draft: ImageDraft, step?: StepProgress): Promise<Predicate[]> {
    const { store, attest, epoch, references } = this.#request;
    const out: Predicate[] = [...(sbom ?? [])];
    if (attest.sbom === true) {
      // As old as the image: the same image has the same document.
      const created = epoch ?? new Date(draft.config.created ?? 0);
      const name = references[0] === undefined ? 'image' : familiarReference(references[0]);
      out.push(await composeSbom(store, draft, { created, name, note: (text) => step?.note(text) }));
    }
    if (attest.provenance !== undefined) out.push(this.#provenance());
    return out;
  }

  #provenance(): Predicate {
    const {
      mode = 'min',
      version = 'v1',
      builderId = '',
      reproducible = false,
    } = this.#request.attest.provenance ?? {};
    return composeProvenance(this.#facts, { mode, version, builderId, reproducible });
  }

  #names(output: BuildOutput): Reference[] {
    const all = [...this.#request.references, ...(output.names ?? []).map(parseTag)];
    return [...new Map(all.map((name) => [formatReference(name), name])).values()];
  }

  async #toFile(dest: string, write: (sink: ArchiveSink) => Promise<void>): Promise<void> {
    const { stdout } = this.#request;
    if (dest !== '-') return await writeFileWhole(dest, write);
    if (stdout !== undefined) return await write(stdout);
    throw new ImagoError('BAD_OUTPUT', 'there is no standard output to write to', { remedy: 'name a file' });
  }

  #tell(composed: ComposedImage, names: readonly Reference[]): OutputResult {
    const { descriptor } = composed.root;
    const { id, platform } = composed.images[0]!;
    const single = descriptor.digest === composed.images[0]!.manifest.digest;
    const metadata: Record<string, unknown> = {
      ...(single ? { 'containerimage.config.digest': id } : {}),
      'containerimage.descriptor': single
        ? { ...descriptor, annotations: { 'config.digest': id }, platform }
        : descriptor,
      'containerimage.digest': descriptor.digest,
      ...(names.length === 0 ? {} : { 'image.name': names.map(formatReference).join(',') }),
    };
    const { value } = this.#provenance();
    for (const image of composed.images) {
      const suffix = composed.images.length === 1 ? '' : `/${formatPlatform(image.platform)}`;
      metadata[`buildx.build.provenance${suffix}`] = JSON.parse(Buffer.from(encodeJson(value)).toString());
    }
    return {
      id: composed.images.length === 1 ? id : descriptor.digest,
      descriptor,
      references: names.map(familiarReference),
      platforms: composed.images.map((image) => ({
        platform: image.platform,
        id: image.id,
        descriptor: image.manifest,
      })),
      metadata,
    };
  }
}
