import { basename } from 'node:path';
import { writeLayoutDirectory } from '../archive/write-directory.ts';
import { writeFileWhole } from '../archive/write-file.ts';
import { type ArchiveSink, writeLayoutTar } from '../archive/write-tar.ts';
import { ImageFiles } from '../build/context/image-source.ts';
import { formatEpoch } from '../build/epoch.ts';
import type { BuildProgress, StepProgress } from '../build/events.ts';
import { limitTimes, rewriteTimes } from '../build/reproducible.ts';
import { byteString } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import type { ImageDraft } from '../image/draft.ts';
import { parseTag } from '../image/tag-by-name.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import { formatPlatform } from '../oci/platform.ts';
import { formatReference, type Reference } from '../oci/reference.ts';
import { DEFAULT_FORM } from '../store/compression-form.ts';
import { Ingest } from '../store/ingest.ts';
import type { Lease } from '../store/lease.ts';
import type { Annotation } from './annotation-options.ts';
import { isLoad } from './choose-outputs.ts';
import { composeOutputLayout } from './output-archive.ts';
import { Attestations, type AttestRequest, type BuiltPlatform } from './output-attest.ts';
import { writeFilesDirectory } from './output-directory.ts';
import { type FileResult, writeFilesTar } from './output-files.ts';
import { type ComposedImage, composeImage, type PlatformImage } from './output-image.ts';
import { fileForm, type LayerFiles, storeForm } from './output-layers.ts';
import type { BuildOutput } from './output-options.ts';
import { pushedForm, pushOutput } from './output-push.ts';
import { describeResult, type OutputResult } from './output-result.ts';

export interface OutputRequest extends AttestRequest {
  /** Holds the layers. */
  lease: Lease;
  images: readonly BuiltPlatform[];
  /** An index of images, or a directory each, also where there is one. */
  multiPlatform: boolean;
  /** None: an image in the store. */
  outputs: readonly BuildOutput[];
  annotations: readonly Annotation[];
  /** Of all outputs. */
  rewriteTimestamp?: boolean;
  /** Where dest=- goes. */
  stdout?: ArchiveSink;
  progress: BuildProgress;
}

/** Makes of a build's result what was asked for, one after the other. */
export async function writeOutputs(request: OutputRequest): Promise<OutputResult> {
  return await new OutputWriter(request).write();
}

class OutputWriter {
  readonly #request: OutputRequest;
  readonly #attestations: Attestations;
  /** By draft and time. */
  readonly #rewritten: Map<string, Promise<ImageDraft>> = new Map();
  #result: { composed: ComposedImage; names: Reference[] } | undefined;

  constructor(request: OutputRequest) {
    this.#request = request;
    this.#attestations = new Attestations(request);
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
    return describeResult(composed, names, this.#attestations.provenance());
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
        const extra = await this.#attestations.statements(images[i]!, draft, files, step);
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
      parts.push({
        platform: image.platform,
        draft,
        predicates: await this.#attestations.predicates(image, draft, step),
      });
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
}
