import { NamedContexts } from '../build/context-names.ts';
import { BuildProgress, type OnBuildEvent } from '../build/events.ts';
import { type BuildPlan, planBuild } from '../build/plan.ts';
import type { Entitlement, RunNetwork, RunSettings } from '../build/run.ts';
import { solvePlans } from '../build/solve.ts';
import type { Digest } from '../core/digest.ts';
import { parseDockerfile } from '../formats/dockerfile/parse.ts';
import { type ImageDraft, writeImage } from '../image/draft.ts';
import { defaultPlatform } from '../image/image.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarReference, formatReference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import { type AgentSource, BuildAgents } from './build-agents.ts';
import { BaseImages } from './build-bases.ts';
import { BuildCaches } from './build-cache.ts';
import { BuildContexts, type ContextInput, type DockerfileSource } from './build-context.ts';
import { writeIndex } from './build-index.ts';
import { checkRunnable, readPlatforms } from './build-platforms.ts';
import { BuildSecrets, type SecretSource } from './build-secrets.ts';
import { isTrue, warnOfContexts, warnOfInput } from './build-warnings.ts';
import { createRunStep } from './run-step.ts';
import { parseTag } from './tag.ts';
import type { PullPolicy } from './with-image.ts';

export interface BuildOptions {
  /** A directory, a git or http URL, or a tar (of any compression) or a Dockerfile as a stream; undefined: no files. */
  context?: ContextInput;
  /** Path of the Dockerfile (default: `Dockerfile` in the context), or its text. */
  file?: string | DockerfileSource;
  /** Named contexts for FROM and --from: a directory, a git or http URL, docker-image://NAME, oci-layout://DIR. */
  contexts?: Readonly<Record<string, string>>;
  tags?: readonly string[];
  buildArgs?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  target?: string;
  /** Several: an image each, and an index of them. */
  platform?: string | readonly string[];
  network?: RunNetwork;
  noCache?: boolean;
  /** Caches to look into, as `--cache-from` names them; they need not be there. */
  cacheFrom?: readonly string[];
  /** Where the build's cache goes, as `--cache-to` says it. */
  cacheTo?: readonly string[];
  /** For RUN --mount=type=secret, by ID. */
  secrets?: Readonly<Record<string, SecretSource>>;
  /** For RUN --mount=type=ssh, by ID. */
  ssh?: Readonly<Record<string, AgentSource>>;
  /** What a RUN may ask for (default: nothing). */
  allow?: readonly Entitlement[];
  /** Of every RUN. */
  runSettings?: RunSettings;
  /** Whether images that it starts from and copies from are fetched from their registries (default 'missing'). */
  pull?: PullPolicy;
  /** The time of the image, of its history, and of directories that the build makes (default: now, and then kept). */
  epoch?: Date;
  onEvent?: OnBuildEvent;
  /** The Dockerfile as it was read, before anything is made of it. */
  onDockerfile?: (source: DockerfileSource) => void;
  signal?: AbortSignal;
}

export interface BuildResult {
  id: Digest;
  descriptor: Descriptor;
  /** As people type them. */
  references: string[];
  /** Each one's image, in the order asked for; `id` and `descriptor` are the first's, or the index's of several. */
  platforms: { platform: Platform; id: Digest; descriptor: Descriptor }[];
}

/**
 * Builds an image from a Dockerfile and gives it its names; without one it is kept as an untagged image.
 * Throws `DockerfileError` and `BuildError`, which know their lines, and all that reading an image throws.
 */
export async function buildImage(store: Store, options: BuildOptions): Promise<BuildResult> {
  const references = (options.tags ?? []).map(parseTag);
  const progress = new BuildProgress(options.onEvent);
  const host = defaultPlatform();
  const platforms = readPlatforms(options.platform, host);
  const buildArgs = new Map(Object.entries(options.buildArgs ?? {}));
  const named = new NamedContexts(options.contexts);
  const keepGitDir = isTrue(buildArgs.get('BUILDKIT_CONTEXT_KEEP_GIT_DIR'));
  using contexts = new BuildContexts({ store, progress, signal: options.signal, keepGitDir });
  const { source: context, dockerfile } = await contexts.open(options);
  options.onDockerfile?.(dockerfile);
  const file = parseDockerfile(dockerfile.text);
  warnOfInput(file, buildArgs, progress);
  const secrets = new BuildSecrets(options.secrets ?? {});
  await using agents = new BuildAgents(store, options.ssh ?? {});
  using lease = store.lease('build');
  const { pull: policy = 'missing', signal } = options;
  const bases = new BaseImages({ store, lease, policy, progress, signal });
  const triggersOf = (reference: string, wanted: Platform): readonly string[] => bases.triggersOf(reference, wanted);
  const common = { buildArgs, target: options.target, host, triggersOf, contexts: named };
  const planAll = (): BuildPlan[] => platforms.map((platform) => planBuild(file, { ...common, platform }));
  let plans = planAll();
  // A base's triggers may need further bases.
  while (await bases.fetchWanted()) plans = planAll();
  warnOfContexts(named, progress);
  const { cacheFrom: from, cacheTo: to, noCache = false } = options;
  using caches = await BuildCaches.open({ store, lease, from, to, noCache, progress, signal });
  const drafts = await solvePlans(plans, {
    store,
    lease,
    context,
    openNamed: (place) => contexts.openNamed(place),
    checkRunnable: (platform) => checkRunnable(platform, host),
    buildArgs,
    noCache,
    cache: caches.cache,
    network: options.network ?? 'host',
    epoch: options.epoch,
    allow: options.allow ?? [],
    runSettings: options.runSettings ?? {},
    run: createRunStep(store, { secrets, agents }),
    resolveImage: (reference, wanted) => bases.resolve(reference, wanted),
    progress,
    signal,
  });
  const built = await progress.step('exporting to image', async (step) => {
    const images = drafts.map((draft, i) => ({
      platform: platforms[i]!,
      ...writeImage(store, lease, caches.withInline(withLabels(draft, options.labels ?? {}))),
    }));
    for (const { id } of images) step.note(`writing image ${id}`);
    const descriptor = images.length === 1 ? images[0]!.descriptor : writeIndex(store, lease, images);
    const { id } = images[0]!;
    for (const reference of references) {
      tagImage(store, formatReference(reference), descriptor);
      step.note(`naming to ${formatReference(reference)}`);
    }
    if (references.length === 0) keepUntagged(store, descriptor);
    return { value: { id, descriptor, references: references.map(familiarReference), platforms: images } };
  });
  await caches.export(drafts);
  return built;
}

function withLabels(draft: ImageDraft, labels: Readonly<Record<string, string>>): ImageDraft {
  if (Object.keys(labels).length === 0) return draft;
  const config = draft.config.config ?? {};
  return {
    ...draft,
    config: { ...draft.config, config: { ...config, Labels: { ...config.Labels, ...labels } } },
  };
}
