import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { BuildProgress, type OnBuildEvent } from '../build/events.ts';
import { checkPlatform, planBuild } from '../build/plan.ts';
import { type Entitlement, isProxy, type RunNetwork, type RunSettings } from '../build/run.ts';
import { solvePlan } from '../build/solve.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { IgnoreMatcher, parseIgnoreFile } from '../formats/dockerfile/ignore.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';
import { parseDockerfile } from '../formats/dockerfile/parse.ts';
import { type ImageDraft, writeImage } from '../image/draft.ts';
import { defaultPlatform } from '../image/image.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import { familiarReference, formatReference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import { type AgentSource, BuildAgents } from './build-agents.ts';
import { BaseImages } from './build-bases.ts';
import { BuildSecrets, type SecretSource } from './build-secrets.ts';
import { createRunStep } from './run-step.ts';
import { parseTag } from './tag.ts';
import type { PullPolicy } from './with-image.ts';

export interface BuildOptions {
  /** A directory; undefined: no files. */
  context?: string;
  /** Path of the Dockerfile (default: `Dockerfile` in the context), or its text. */
  file?: string | { name: string; text: string };
  tags?: readonly string[];
  buildArgs?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  target?: string;
  platform?: string;
  network?: RunNetwork;
  noCache?: boolean;
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
  signal?: AbortSignal;
}

export interface BuildResult {
  id: Digest;
  descriptor: Descriptor;
  /** As people type them. */
  references: string[];
}

/** A Dockerfile as the build read it: errors point into it. */
export interface DockerfileSource {
  name: string;
  text: string;
}

/**
 * Builds an image from a Dockerfile and gives it its names; without one it is kept as an untagged image.
 * Throws `DockerfileError` and `BuildError`, which know their lines, and all that reading an image throws.
 */
export async function buildImage(store: Store, options: BuildOptions): Promise<BuildResult> {
  const references = (options.tags ?? []).map(parseTag);
  const { context } = options;
  if (context !== undefined) checkContext(context);
  const source = readDockerfile(options);
  const file = parseDockerfile(source.text);
  const progress = new BuildProgress(options.onEvent);
  const ignorePatterns = readIgnorePatterns(options);
  const ignore = new IgnoreMatcher(ignorePatterns);
  const host = defaultPlatform();
  const platform = options.platform === undefined ? host : parsePlatform(options.platform, host);
  checkPlatform(platform, host);
  const buildArgs = new Map(Object.entries(options.buildArgs ?? {}));
  warn(file, buildArgs, progress);
  const secrets = new BuildSecrets(options.secrets ?? {});
  await using agents = new BuildAgents(store, options.ssh ?? {});
  using lease = store.lease('build');
  const { pull: policy = 'missing', signal } = options;
  const bases = new BaseImages({ store, lease, policy, progress, signal });
  const triggersOf = (reference: string, wanted: Platform): readonly string[] => bases.triggersOf(reference, wanted);
  const planOptions = { buildArgs, target: options.target, host, platform, triggersOf };
  let plan = planBuild(file, planOptions);
  if (await bases.fetchWanted()) plan = planBuild(file, planOptions);
  const draft = await solvePlan({
    store,
    lease,
    plan,
    contextDirectory: context,
    ignore,
    ignorePatterns,
    buildArgs,
    noCache: options.noCache ?? false,
    network: options.network ?? 'host',
    epoch: options.epoch,
    allow: options.allow ?? [],
    runSettings: options.runSettings ?? {},
    run: createRunStep(store, { secrets, agents }),
    resolveImage: (reference, wanted) => bases.resolve(reference, wanted),
    progress,
    signal,
  });
  return progress.step('exporting to image', async (step) => {
    const { id, descriptor } = writeImage(store, lease, withLabels(draft, options.labels ?? {}));
    step.note(`writing image ${id}`);
    for (const reference of references) {
      tagImage(store, formatReference(reference), descriptor);
      step.note(`naming to ${formatReference(reference)}`);
    }
    if (references.length === 0) keepUntagged(store, descriptor);
    return { value: { id, descriptor, references: references.map(familiarReference) } };
  });
}

/** The Dockerfile of a build, as text. Throws `NO_DOCKERFILE`. */
export function readDockerfile({ context, file }: Pick<BuildOptions, 'context' | 'file'>): DockerfileSource {
  if (typeof file === 'object') return file;
  const path = file ?? join(context ?? '.', 'Dockerfile');
  try {
    return { name: basename(path), text: readFileSync(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ImagoError('NO_DOCKERFILE', `cannot read the Dockerfile: ${code === 'ENOENT' ? 'there is none' : code}`, {
      path,
      remedy: code === 'ENOENT' ? 'name it with -f, or build in its directory' : undefined,
      cause: error,
    });
  }
}

function checkContext(context: string): void {
  const stat = statSync(context, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return;
  throw new ImagoError(
    'BAD_CONTEXT',
    stat === undefined ? 'no such build context' : 'the build context is no directory',
    {
      path: resolve(context),
      remedy: 'give a directory, or - for a Dockerfile on standard input',
    },
  );
}

/** `NAME.dockerignore` beside the Dockerfile NAME wins over the context's own. */
function readIgnorePatterns({ context, file }: BuildOptions): string[] {
  if (context === undefined) return [];
  const own = typeof file === 'object' ? undefined : `${file ?? join(context, 'Dockerfile')}.dockerignore`;
  const path = [own, join(context, '.dockerignore')].find(
    (candidate) => candidate !== undefined && existsSync(candidate),
  );
  return path === undefined ? [] : parseIgnoreFile(readFileSync(path, 'utf8'));
}

function withLabels(draft: ImageDraft, labels: Readonly<Record<string, string>>): ImageDraft {
  if (Object.keys(labels).length === 0) return draft;
  const config = draft.config.config ?? {};
  return {
    ...draft,
    config: { ...draft.config, config: { ...config, Labels: { ...config.Labels, ...labels } } },
  };
}

function warn(file: Dockerfile, buildArgs: ReadonlyMap<string, string>, progress: BuildProgress): void {
  for (const { line, text } of file.warnings) progress.warn(text, line);
  const all = [...file.globalArgs, ...file.stages.flatMap(({ instructions }) => instructions)];
  const declared = new Set(all.flatMap((i) => (i.name === 'ARG' ? i.args.map(({ key }) => key) : [])));
  const unused = [...buildArgs.keys()].filter(
    (name) => !declared.has(name) && !isProxy(name) && name !== 'SOURCE_DATE_EPOCH',
  );
  if (unused.length > 0) progress.warn(`One or more build-args [${unused.join(' ')}] were not consumed`);
}
