import { Writable } from 'node:stream';
import type { ImageBuilder } from '../build/definition/definition.ts';
import type { CreateOptions } from '../container/create.ts';
import type { RemoveOptions } from '../container/remove.ts';
import type { Digest } from '../core/digest.ts';
import type { ImageInspection } from '../image/inspect.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { ClientOptions, Credentials } from '../registry/client/types.ts';
import { Store, type StoreOptions } from '../store/store.ts';
import type { VerifyResult } from '../store/verify.ts';
import type { PullArtifactOptions, PulledArtifact } from '../transfer/artifact-pull.ts';
import type { ArtifactFile, PushArtifactOptions, PushedArtifact } from '../transfer/artifact-push.ts';
import type { CopyOptions } from '../transfer/copy.ts';
import type { LoginResult, LogoutResult } from '../transfer/login.ts';
import type { AnnotateOptions } from '../transfer/manifest-annotate.ts';
import type { CreatedList, CreateListOptions } from '../transfer/manifest-create.ts';
import type { PushedList, PushListOptions } from '../transfer/manifest-push.ts';
import type { PulledImage, PullOptions } from '../transfer/pull.ts';
import type { PushedTag, PushOptions } from '../transfer/push.ts';
import type { ListReferrersOptions, Referrers } from '../transfer/referrers.ts';
import type { InspectRemoteOptions, RemoteInspection } from '../transfer/remote-inspect.ts';
import type { ListTagsOptions } from '../transfer/tags.ts';
import type { Change } from '../tree/diff.ts';
import type { BuildResult } from './build.ts';
import type { PruneCacheOptions, PruneCacheResult } from './build-cache-prune.ts';
import type { CacheEntry } from './build-cache-usage.ts';
import type { DefinitionOptions } from './build-definition.ts';
import type { BuildOptions } from './build-options.ts';
import type { CommitRequest } from './commit.ts';
import type { DiskUsage } from './disk-usage.ts';
import type { HistoryStep } from './history.ts';
import type { ImageRow, ListRowsOptions } from './images.ts';
import type { ImportedImage, ImportOptions } from './import.ts';
import type { LoadedImage, LoadOptions } from './load.ts';
import type { PruneStoreOptions, PruneStoreResult } from './prune.ts';
import type { ContainerRow, PsOptions } from './ps.ts';
import type { Removal, RemoveImageOptions } from './rmi.ts';
import type { SaveOptions, SaveResult } from './save.ts';
import type { VerifyStoreOptions } from './verify.ts';
import { type ImageWish, withImage } from './with-image.ts';

export interface RunRequest extends CreateOptions, ImageWish {
  /** Where the output goes as it comes; what has no stream is gathered in the result. */
  stdout?: Writable;
  stderr?: Writable;
}

export interface RunOutcome {
  exitCode: number;
  /** Empty where a stream took it. */
  stdout: Buffer;
  stderr: Buffer;
}

/**
 * Everything that the command line does, as a library: one store, one method a use case. Each method loads what it
 * needs when it is first called. There is nothing to close: the engine holds no descriptor and no lock between calls.
 */
export class Engine {
  readonly store: Store;

  constructor(options: StoreOptions = {}) {
    this.store = Store.open(options);
  }

  /** An image of one layer from a tar: a path, an http(s) URL, or the bytes. See `importImage`. */
  async import(source: string | AsyncIterable<Uint8Array>, options: ImportOptions = {}): Promise<ImportedImage> {
    return (await import('./import.ts')).importImage(this.store, source, options);
  }

  /** The images of an OCI layout or of an archive (OCI or Docker): a path, or the bytes. See `loadImages`. */
  async load(source: string | AsyncIterable<Uint8Array>, options: LoadOptions = {}): Promise<LoadedImage[]> {
    return (await import('./load.ts')).loadImages(this.store, source, options);
  }

  /** An image from its registry, by tag or by digest. See `pullImage`. */
  async pull(name: string, options: PullOptions = {}): Promise<PulledImage> {
    return (await import('../transfer/pull.ts')).pullImage(this.store, name, options);
  }

  /** All tags of a repository. */
  async pullAllTags(name: string, options: PullOptions = {}): Promise<PulledImage[]> {
    return (await import('../transfer/pull.ts')).pullAllTags(this.store, name, options);
  }

  /** Sends what a name stands for to the registry that the name says. See `pushName`. */
  async push(name: string, options: PushOptions = {}): Promise<PushedTag[]> {
    return (await import('../transfer/push.ts')).pushName(this.store, name, options);
  }

  /** From one place to another: registries, OCI layouts and archives, Docker archives, this store. See `copyImage`. */
  async copy(from: string, to: string, options: Omit<CopyOptions, 'openStore'> = {}): Promise<Descriptor> {
    return (await import('../transfer/copy.ts')).copyImage(from, to, { ...options, openStore: () => this.store });
  }

  async save(names: readonly string[], options: SaveOptions): Promise<SaveResult> {
    return (await import('./save.ts')).saveImages(this.store, names, options);
  }

  /** An image from a Dockerfile: `dockerfile` is its text, `file` its path. See `buildImage`. */
  build(options: BuildOptions & { dockerfile?: string }): Promise<BuildResult>;
  /** An image from a builder: `build(image.from('debian').run(['apt-get', 'update']))`. See `buildDefinition`. */
  build(image: ImageBuilder, options?: DefinitionOptions): Promise<BuildResult>;
  async build(
    first: ImageBuilder | (BuildOptions & { dockerfile?: string }),
    options: DefinitionOptions = {},
  ): Promise<BuildResult> {
    const { buildDefinition, checkBuildOptions } = await import('./build-definition.ts');
    if ('calls' in first) {
      checkBuildOptions({ ...options });
      return buildDefinition(this.store, first, options);
    }
    const { dockerfile, ...rest } = first;
    checkBuildOptions({ ...rest });
    const text = dockerfile === undefined ? {} : { file: { name: 'Dockerfile', text: dockerfile } };
    return (await import('./build.ts')).buildImage(this.store, { ...rest, ...text });
  }

  /** Runs a container to its end. A status other than 0 is a result, not an error. */
  async run(request: RunRequest): Promise<RunOutcome> {
    const { runAttached } = await import('../container/run.ts');
    const { stdout, stderr, ...options } = request;
    const out = stdout === undefined ? new Gatherer() : undefined;
    const err = stderr === undefined ? new Gatherer() : undefined;
    const streams = { stdout: stdout ?? out!, stderr: stderr ?? err! };
    const end = await withImage(this.store, options.image, options, () => runAttached(this.store, options, streams));
    const exitCode = end.kind === 'exited' ? end.exitCode : 0;
    return { exitCode, stdout: Buffer.concat(out?.chunks ?? []), stderr: Buffer.concat(err?.chunks ?? []) };
  }

  /** Starts a container in the background and returns its ID. */
  async start(options: CreateOptions & ImageWish): Promise<string> {
    const { runDetached } = await import('../container/run.ts');
    return (await withImage(this.store, options.image, options, () => runDetached(this.store, options))).id;
  }

  async stop(container: string, options: { timeout?: number; signal?: string } = {}): Promise<void> {
    await (await import('./containers.ts')).stopByName(this.store, container, options);
  }

  /** Waits for the end of a container and returns its exit status. */
  async wait(container: string, signal?: AbortSignal): Promise<number> {
    return (await import('./containers.ts')).waitByName(this.store, container, signal);
  }

  /** Discards a container and its writable layer. */
  async remove(container: string, options: RemoveOptions = {}): Promise<void> {
    await (await import('./containers.ts')).removeByName(this.store, container, options);
  }

  async containers(options: PsOptions = {}): Promise<ContainerRow[]> {
    return (await import('./ps.ts')).listContainers(this.store, options);
  }

  /** What a container changed in its image. */
  async changes(container: string): Promise<Change[]> {
    return (await import('./diff-container.ts')).diffByName(this.store, container);
  }

  /** An image of what a container changed; the result is the image's ID. */
  async commit(container: string, request: CommitRequest = {}): Promise<Digest> {
    return (await import('./commit.ts')).commitByName(this.store, container, request);
  }

  async images(options: ListRowsOptions = {}): Promise<ImageRow[]> {
    return (await import('./images.ts')).listImageRows(this.store, options);
  }

  async inspect(image: string): Promise<ImageInspection> {
    return (await import('../image/inspect.ts')).inspectImage(this.store, image);
  }

  async history(image: string): Promise<HistoryStep[]> {
    return (await import('./history.ts')).listHistory(this.store, image);
  }

  /** What differs from one image to another. */
  async diff(before: string, after: string): Promise<Change[]> {
    return (await import('./diff-images.ts')).diffImages(this.store, before, after);
  }

  async tag(source: string, target: string): Promise<string> {
    return (await import('../image/tag-by-name.ts')).tagByName(this.store, source, target);
  }

  async removeImage(name: string, options: RemoveImageOptions = {}): Promise<Removal[]> {
    return (await import('./rmi.ts')).removeImage(this.store, name, options);
  }

  /** The tags of a repository in its registry, page by page as they are asked for. */
  async *tags(repository: string, options: ListTagsOptions = {}): AsyncGenerator<string, void, undefined> {
    yield* (await import('../transfer/tags.ts')).listRemoteTags(repository, options);
  }

  /** An image in its registry; no layer is fetched. */
  async inspectRemote(image: string, options: InspectRemoteOptions = {}): Promise<RemoteInspection> {
    return (await import('../transfer/remote-inspect.ts')).inspectRemote(image, options);
  }

  /** What refers to an image in its registry. */
  async referrers(image: string, options: ListReferrersOptions = {}): Promise<Referrers> {
    return (await import('../transfer/referrers.ts')).listRemoteReferrers(image, options);
  }

  /** Shows credentials to a registry and keeps them as Docker does. Without a server it is Docker Hub. See `logIn`. */
  async login(server: string | undefined, credentials: Credentials, options: ClientOptions = {}): Promise<LoginResult> {
    return (await import('../transfer/login.ts')).logIn(server, credentials, options);
  }

  /** Forgets the credentials for a registry. */
  async logout(server: string | undefined, options: ClientOptions = {}): Promise<LogoutResult> {
    return (await import('../transfer/login.ts')).logOut(server, options);
  }

  async pushArtifact(
    name: string,
    files: readonly ArtifactFile[],
    options: PushArtifactOptions = {},
  ): Promise<PushedArtifact> {
    return (await import('../transfer/artifact-push.ts')).pushArtifact(name, files, options);
  }

  async pullArtifact(name: string, options: PullArtifactOptions = {}): Promise<PulledArtifact> {
    return (await import('../transfer/artifact-pull.ts')).pullArtifact(name, options);
  }

  /** A list of manifests (an index in the making), kept in the store under its name. See `createList`. */
  async createManifestList(
    name: string,
    manifests: readonly string[],
    options: CreateListOptions = {},
  ): Promise<CreatedList> {
    return (await import('../transfer/manifest-create.ts')).createList(this.store, name, manifests, options);
  }

  async annotateManifestList(name: string, manifest: string, options: AnnotateOptions): Promise<Descriptor> {
    return (await import('../transfer/manifest-annotate.ts')).annotateList(this.store, name, manifest, options);
  }

  async pushManifestList(name: string, options: PushListOptions = {}): Promise<PushedList> {
    return (await import('../transfer/manifest-push.ts')).pushList(this.store, name, options);
  }

  async removeManifestList(name: string): Promise<void> {
    await (await import('../transfer/manifest-list.ts')).removeList(this.store, name);
  }

  async diskUsage(): Promise<DiskUsage> {
    return (await import('./disk-usage.ts')).readDiskUsage(this.store);
  }

  /** What the build cache keeps, what was used longest ago first. */
  async buildCache(): Promise<CacheEntry[]> {
    return (await import('./build-cache-usage.ts')).listCacheEntries(this.store);
  }

  /** Takes of the build cache what is old, too much, or all. See `pruneCache`. */
  async pruneBuildCache(options: PruneCacheOptions = {}): Promise<PruneCacheResult> {
    return (await import('./build-cache-prune.ts')).pruneCache(this.store, options);
  }

  async prune(options: PruneStoreOptions = {}): Promise<PruneStoreResult> {
    return (await import('./prune.ts')).pruneStore(this.store, options);
  }

  async verify(options: VerifyStoreOptions = {}): Promise<VerifyResult> {
    return (await import('./verify.ts')).verifyStore(this.store, options);
  }
}

class Gatherer extends Writable {
  readonly chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(Buffer.from(chunk));
    done();
  }
}
