/** The public library. Its names are under test (test/index.test.ts): what is added here is kept. */

export type {
  AddOptions,
  CopyOptions,
  HealthcheckOptions,
  ImageSource,
  MountOption,
  RunOptions,
} from './build/definition/calls.ts';
export { type ImageBuilder, image } from './build/definition/definition.ts';
export { BuildError } from './build/errors.ts';
export type { BuildEvent, OnBuildEvent } from './build/events.ts';
export type { FailedStep, OnFailure } from './build/failure.ts';
export { type ByteString, byteString, bytesOf, displayName, latin1 } from './core/bytes.ts';
export { type Digest, isDigest, parseDigest } from './core/digest.ts';
export { type ErrorDetails, ImagoError, isImagoError } from './core/errors.ts';
export type { BuildResult } from './engine/build.ts';
export type { DefinitionOptions } from './engine/build-definition.ts';
export type { BuildOptions } from './engine/build-options.ts';
export { Engine, type RunOutcome, type RunRequest } from './engine/engine.ts';
export { type Annotation, parseAnnotation } from './exporter/annotation-options.ts';
export type { AttestOptions } from './exporter/attest-options.ts';
export { type BuildOutput, parseOutput } from './exporter/output-options.ts';
export { DockerfileError } from './formats/dockerfile/errors.ts';
export { dumpIndex } from './formats/erofs/dump.ts';
export { IndexBuilder, type LayerIndex } from './formats/erofs/index-builder.ts';
export type { TarEntry } from './formats/tar/entry.ts';
export { readTar } from './formats/tar/read.ts';
export { TarScanner } from './formats/tar/scan.ts';
export { END_OF_ARCHIVE, encodeHeader } from './formats/tar/write.ts';
export { familiarReference, formatReference, parseReference, type Reference } from './oci/reference.ts';
export { Store, type StoreOptions } from './store/store.ts';
export type { PulledImage, PullOptions } from './transfer/pull.ts';
export type { PullEvent } from './transfer/pull-events.ts';
