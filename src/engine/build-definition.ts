import type { ImageBuilder } from '../build/definition/definition.ts';
import { assembleImage, nameCall } from '../build/definition/plan.ts';
import { ImagoError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { type BuildResult, buildImage } from './build.ts';
import type { BuildOptions } from './build-options.ts';

export type DefinitionOptions = Omit<BuildOptions, 'file' | 'target' | 'definition'>;

/**
 * Builds what a builder says, by the same solver and with the same cache as a Dockerfile of the same steps. Errors name
 * the call: `run #3: …`.
 */
export async function buildDefinition(
  store: Store,
  image: ImageBuilder,
  options: DefinitionOptions = {},
): Promise<BuildResult> {
  const { file, labels } = assembleImage(image);
  try {
    return await buildImage(store, { ...options, definition: file });
  } catch (error) {
    throw nameCall(error, labels);
  }
}

type Kind = 'text' | 'texts' | 'pairs' | 'yes or no' | 'function' | 'time';

const KINDS: Readonly<Partial<Record<keyof BuildOptions, Kind>>> = {
  tags: 'texts',
  buildArgs: 'pairs',
  labels: 'pairs',
  contexts: 'pairs',
  target: 'text',
  noCache: 'yes or no',
  noCacheFilter: 'texts',
  cacheFrom: 'texts',
  cacheTo: 'texts',
  allow: 'texts',
  epoch: 'time',
  onEvent: 'function',
  onFailure: 'function',
  onDockerfile: 'function',
};

const isText = (value: unknown): boolean => typeof value === 'string';
const CHECKS: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  text: isText,
  texts: (value) => Array.isArray(value) && value.every(isText),
  pairs: (value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(isText),
  'yes or no': (value) => typeof value === 'boolean',
  function: (value) => typeof value === 'function',
  time: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
};
const WORDS: Readonly<Record<Kind, string>> = {
  text: 'a text',
  texts: 'a list of texts',
  pairs: 'an object of texts',
  'yes or no': 'true or false',
  function: 'a function',
  time: 'a valid Date',
};

/** For callers without types: what would otherwise fail late, or not at all. Throws `BAD_OPTION`. */
export function checkBuildOptions(options: Readonly<Record<string, unknown>>): void {
  for (const [name, kind] of Object.entries(KINDS)) {
    const value = options[name];
    if (value === undefined || CHECKS[kind](value)) continue;
    throw new ImagoError('BAD_OPTION', `build: ${name} is wrong`, { want: WORDS[kind], got: typeof value });
  }
}
