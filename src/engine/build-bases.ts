import { OCI_LAYOUT, parseLayoutReference } from '../build/context/names.ts';
import type { BuildProgress, StepProgress } from '../build/events.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import { type Image, readImage } from '../image/image.ts';
import { resolveImage } from '../image/resolve.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { PullEvent } from '../transfer/pull-events.ts';
import type { PullPolicy } from './with-image.ts';

export interface BaseImagesOptions {
  store: Store;
  /** Holds the images until the build is done. */
  lease: Lease;
  policy: PullPolicy;
  /** Nothing is built: of an image that is not in the store its config is enough. */
  configsOnly?: boolean;
  progress: BuildProgress;
  signal?: AbortSignal;
}

/** Milliseconds: the checks go without what does not come soon. */
const IMPATIENT = { connectMs: 5000, stallMs: 5000, tries: 2, maxRetryAfterMs: 2000 };

/** The images that a build starts from and copies from: out of the store, or fetched, each once. */
export class BaseImages {
  readonly #options: BaseImagesOptions;
  /** What is to be fetched before the plan is known for sure. */
  readonly #wanted: Map<string, { reference: string; platform: Platform }> = new Map();
  /** Of these, what was tried: another try gives nothing else. */
  readonly #tried: Set<string> = new Set();
  readonly #fetched: Map<string, Promise<void>> = new Map();
  /** What a layout's image is in the store. */
  readonly #layouts: Map<string, Descriptor> = new Map();
  readonly #configs: Map<string, ImageConfig> = new Map();

  constructor(options: BaseImagesOptions) {
    this.#options = options;
  }

  /** ONBUILD of an image. One that is not here has none yet: `fetchWanted` brings it. */
  triggersOf(reference: string, platform: Platform): readonly string[] {
    const key = keyOf(reference, platform);
    const want = (): void => {
      if (!this.#tried.has(key)) this.#wanted.set(key, { reference, platform });
    };
    if ((this.#options.policy === 'always' || isLayout(reference)) && !this.#fetched.has(key)) {
      want();
      return [];
    }
    try {
      return this.#config(reference, platform).config?.OnBuild ?? [];
    } catch (error) {
      // Told about by the step that needs it.
      if (!(error instanceof ImagoError)) throw error;
      if (mayFetch(error)) want();
      return [];
    }
  }

  /** True where something was tried to be fetched: the plan is to be made again. */
  async fetchWanted(): Promise<boolean> {
    const wanted = [...this.#wanted].filter(([, { reference }]) => this.#mayFetch(reference));
    this.#wanted.clear();
    const fetch = async ([key, { reference, platform }]: (typeof wanted)[number]): Promise<void> => {
      this.#tried.add(key);
      try {
        await this.#fetch(reference, platform);
      } catch (error) {
        // Told by the step that needs it, with its place in the Dockerfile.
        if (!(error instanceof ImagoError) || this.#options.signal?.aborted) throw error;
      }
    };
    if (this.#options.configsOnly === true) await Promise.all(wanted.map(fetch));
    else for (const one of wanted) await fetch(one);
    return wanted.length > 0;
  }

  #mayFetch(reference: string): boolean {
    return this.#options.policy !== 'never' || isLayout(reference);
  }

  /** Throws `IMAGE_NOT_FOUND`, and what `pullImage` throws. */
  async resolve(reference: string, platform: Platform): Promise<Image> {
    const { policy } = this.#options;
    const key = keyOf(reference, platform);
    if (policy === 'always' || isLayout(reference) || this.#fetched.has(key)) await this.#fetch(reference, platform);
    try {
      return this.#find(reference, platform);
    } catch (error) {
      if (!mayFetch(error) || this.#fetched.has(key)) throw error;
      if (policy === 'never') throw missingBase(reference, error);
    }
    await this.#fetch(reference, platform);
    return this.#find(reference, platform);
  }

  /** The config of an image; undefined where it is not here (yet): `fetchWanted` then brings it, if it may. */
  peekConfig(reference: string, platform: Platform): ImageConfig | undefined {
    try {
      return this.#config(reference, platform);
    } catch (error) {
      if (!(error instanceof ImagoError)) throw error;
      const key = keyOf(reference, platform);
      if (mayFetch(error) && !this.#tried.has(key)) this.#wanted.set(key, { reference, platform });
      return undefined;
    }
  }

  #config(reference: string, platform: Platform): ImageConfig {
    return this.#configs.get(keyOf(reference, platform)) ?? this.#find(reference, platform).config;
  }

  #find(reference: string, platform: Platform): Image {
    const { store } = this.#options;
    const loaded = this.#layouts.get(keyOf(reference, platform));
    const image =
      loaded === undefined
        ? resolveImage(store, SHORT_HEX.test(reference) ? `${reference}:latest` : reference, platform)
        : readImage(store, loaded, { platform, ref: reference });
    this.#options.lease.add(image.descriptor.digest);
    return image;
  }

  #fetch(reference: string, platform: Platform): Promise<void> {
    const key = keyOf(reference, platform);
    let fetched = this.#fetched.get(key);
    if (fetched === undefined) {
      const { configsOnly = false } = this.#options;
      if (isLayout(reference)) fetched = this.#load(reference, platform);
      else fetched = configsOnly ? this.#resolveConfig(reference, platform) : this.#pull(reference, platform);
      this.#fetched.set(key, fetched);
    }
    return fetched;
  }

  /** An OCI layout's image comes into the store without a name: what no result is made of goes with a prune. */
  #load(reference: string, platform: Platform): Promise<void> {
    const { store, lease, progress, signal } = this.#options;
    return progress.step(`[internal] load ${reference}`, async (step) => {
      const { loadLayoutImage } = await import('./build-layout.ts');
      const loaded = await loadLayoutImage(store, lease, parseLayoutReference(reference), { platform, signal });
      step.note(`resolved ${reference} to ${loaded.digest}`);
      this.#layouts.set(keyOf(reference, platform), loaded);
      return { value: undefined };
    });
  }

  /** As BuildKit names it. A registry that does not answer is not waited for as a pull waits. */
  #resolveConfig(reference: string, platform: Platform): Promise<void> {
    const { progress, signal } = this.#options;
    return progress.step(`[internal] load metadata for ${reference}`, async () => {
      const { findRemoteConfig } = await import('../transfer/remote-inspect.ts');
      const config = await findRemoteConfig(reference, { platform, signal, timing: IMPATIENT });
      this.#configs.set(keyOf(reference, platform), config);
      return { value: undefined };
    });
  }

  #pull(reference: string, platform: Platform): Promise<void> {
    const { store, progress, signal } = this.#options;
    return progress.step(`[internal] pull ${reference}`, async (step) => {
      const { pullImage } = await import('../transfer/pull.ts');
      const onEvent = (event: PullEvent): void => noteEvent(step, event);
      const { changed } = await pullImage(store, reference, { platform, signal, onEvent });
      return { value: undefined, cached: !changed };
    });
  }
}

/** In a Dockerfile the start of an ID is as long as `imago images` has it: FROM ada, or a mistyped stage b, is a name. */
const SHORT_HEX = /^[0-9a-f]{1,11}$/;

function isLayout(reference: string): boolean {
  return reference.startsWith(OCI_LAYOUT);
}

function keyOf(reference: string, platform: Platform): string {
  return `${reference} ${formatPlatform(platform)}`;
}

/** Another platform of it may be here. */
function mayFetch(error: unknown): error is ImagoError {
  return isImagoError(error, 'IMAGE_NOT_FOUND') || isImagoError(error, 'PLATFORM_MISMATCH');
}

function noteEvent(step: StepProgress, event: PullEvent): void {
  if (event.type === 'done') step.note(`resolved ${event.reference} to ${event.digest}`);
  if (event.type !== 'layer') return;
  const { digest, status, done = 0, total } = event;
  if (status === 'downloading') step.status(digest, { current: done, total });
  else if (status === 'downloaded') step.status(digest, { current: total ?? done, total, finished: true });
}

/** For a base that is not there: the words of the error say which line wants it. */
function missingBase(reference: string, cause: ImagoError): ImagoError {
  return new ImagoError('IMAGE_NOT_FOUND', `base image ${reference} is not in the store`, {
    remedy: "'imago pull' fetches it, 'imago images' lists those there are",
    cause,
  });
}
