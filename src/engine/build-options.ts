import type { ArchiveSink } from '../archive/write-tar.ts';
import type { OnBuildEvent } from '../build/events.ts';
import type { OnFailure } from '../build/failure.ts';
import type { Entitlement, RunNetwork, RunSettings } from '../build/run.ts';
import type { Annotation } from '../exporter/annotation-options.ts';
import type { AttestOptions } from '../exporter/attest-options.ts';
import type { BuildOutput } from '../exporter/output-options.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';
import type { AgentSource } from './build-agents.ts';
import type { ContextInput } from './build-context-stream.ts';
import type { DockerfileSource } from './build-dockerfile.ts';
import type { SecretSource } from './build-secrets.ts';
import type { PullPolicy } from './with-image.ts';

export interface BuildOptions {
  /** A directory, a git or http URL, or a tar (of any compression) or a Dockerfile as a stream; undefined: no files. */
  context?: ContextInput;
  /** Path of the Dockerfile (default: `Dockerfile` in the context), its URL, or its text. */
  file?: string | DockerfileSource;
  /** In place of a Dockerfile: one as it is parsed to. `ImageBuilder` makes such. */
  definition?: Dockerfile;
  /** Named contexts for FROM and --from: a directory, a git or http URL, docker-image://NAME, oci-layout://DIR. */
  contexts?: Readonly<Record<string, string>>;
  tags?: readonly string[];
  buildArgs?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  target?: string;
  /** Several: an image each, and an index of them. */
  platform?: string | readonly string[];
  /** Of every RUN that says nothing else (default 'host'). Said to be 'host', a RUN may ask for it, too. */
  network?: RunNetwork;
  noCache?: boolean;
  /** Stages, by name, that take nothing from the cache. */
  noCacheFilter?: readonly string[];
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
  /**
   * The time of the image, of its history, and of directories that the build makes (default: the build argument
   * SOURCE_DATE_EPOCH, else now, and then kept).
   */
  epoch?: Date;
  /** What becomes of the result (default: an image in the store). `parseOutput` reads them as `--output` has them. */
  outputs?: readonly BuildOutput[];
  /** Push the image under its names; without an image among the outputs, one is made. */
  push?: boolean;
  /** Keep an image in the store beside the other outputs. */
  load?: boolean;
  annotations?: readonly Annotation[];
  /** Attestations of the result (default: none). */
  attest?: AttestOptions;
  /** With an epoch: no file of the new layers is younger than that. */
  rewriteTimestamp?: boolean;
  /** Where an output with dest '-' goes. */
  stdout?: ArchiveSink;
  onEvent?: OnBuildEvent;
  /** Is told of the first step that fails, while its file system is still there, and waited for. */
  onFailure?: OnFailure;
  /** The Dockerfile as it was read, before anything is made of it. */
  onDockerfile?: (source: DockerfileSource) => void;
  signal?: AbortSignal;
}
