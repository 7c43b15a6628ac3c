import type { StageInstruction } from '../../formats/dockerfile/instruction.ts';
import {
  type AddOptions,
  bad,
  type CopyOptions,
  type HealthcheckOptions,
  type ImageSource,
  listOf,
  makeCommand,
  makeCopy,
  makeHealthcheck,
  makePairs,
  makeRun,
  type RunOptions,
  textOf,
  wordOf,
  wordsOf,
} from './calls.ts';

/** An instruction without its place; images that it takes from are in it as they are. */
export type Draft = DistributiveOmit<StageInstruction, 'line' | 'endLine'>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** One call of a builder. */
export interface Call {
  /** As errors name it: `run #3`. */
  label: string;
  /** `nameOf` gives the name under which a source is found in the plan. */
  make(nameOf: (source: ImageSource) => string): Draft;
  sources: readonly ImageBuilder[];
}

/**
 * An image in the making, as a value: each method gives a new one. It becomes an image by `Engine.build`. All text is
 * literal: no variables, quotes or escapes; only the sources of `copy` and `add` are patterns, as in a Dockerfile.
 * Calls with wrong arguments throw `BAD_ARGUMENT` at once.
 */
export class ImageBuilder {
  readonly base: string;
  readonly platform: string | undefined;
  readonly calls: readonly Call[];

  constructor(base: string, platform: string | undefined, calls: readonly Call[] = []) {
    this.base = base;
    this.platform = platform;
    this.calls = calls;
  }

  /** A command: its words, or one text for the image's shell. */
  run(command: string | readonly string[], options: RunOptions = {}): ImageBuilder {
    return this.#add(
      'run',
      makeRun(command, options),
      (options.mounts ?? []).map((mount) => ('from' in mount ? mount.from : undefined)),
    );
  }

  /** From the build's context, or from another image. */
  copy(sources: string | readonly string[], destination: string, options: CopyOptions = {}): ImageBuilder {
    return this.#add('copy', makeCopy('COPY', sources, destination, options), [options.from]);
  }

  /** As `copy`, but takes URLs and git repositories, too, and unpacks archives of the context. */
  add(sources: string | readonly string[], destination: string, options: AddOptions = {}): ImageBuilder {
    return this.#add('add', makeCopy('ADD', sources, destination, options));
  }

  /** A file with this text. */
  file(path: string, content: string, options: Pick<CopyOptions, 'chown' | 'chmod' | 'link'> = {}): ImageBuilder {
    return this.#add('file', makeCopy('COPY', [], path, options, textOf('file', content, 'the content')));
  }

  env(variables: Readonly<Record<string, string>>): ImageBuilder {
    return this.#add('env', makePairs('ENV', variables));
  }

  label(labels: Readonly<Record<string, string>>): ImageBuilder {
    return this.#add('label', makePairs('LABEL', labels));
  }

  /** A variable of the builds's `buildArgs`, with its default. It is in the environment of each `run` after it. */
  arg(name: string, value?: string): ImageBuilder {
    if (!/^[^=\s]+$/.test(textOf('arg', name, 'the name')))
      throw bad('arg', 'the name', name, 'one without = and spaces');
    const arg = { key: name, ...(value !== undefined && { value: wordOf('arg', value, 'the value') }) };
    return this.#add('arg', () => ({ name: 'ARG', args: [arg], source: `ARG ${name}` }));
  }

  /** It is made where it is missing. */
  workdir(path: string): ImageBuilder {
    return this.#value('workdir', 'WORKDIR', path);
  }

  /** For the calls after it, and for the image: `user`, `user:group`, numbers. */
  user(name: string): ImageBuilder {
    return this.#value('user', 'USER', name);
  }

  stopSignal(name: string): ImageBuilder {
    return this.#value('stopSignal', 'STOPSIGNAL', name);
  }

  entrypoint(command: string | readonly string[]): ImageBuilder {
    return this.#add('entrypoint', makeCommand('ENTRYPOINT', command));
  }

  cmd(command: string | readonly string[]): ImageBuilder {
    return this.#add('cmd', makeCommand('CMD', command));
  }

  /** 80, '53/udp', '8000-8010'. */
  expose(...ports: readonly (number | string)[]): ImageBuilder {
    const values = wordsOf('expose', ports.map(String), 'a port').sort();
    return this.#add('expose', () => ({ name: 'EXPOSE', values, source: `EXPOSE ${ports.join(' ')}` }));
  }

  volume(...paths: readonly string[]): ImageBuilder {
    const values = wordsOf('volume', paths, 'a path');
    return this.#add('volume', () => ({ name: 'VOLUME', values, source: `VOLUME ${paths.join(' ')}` }));
  }

  /** What the text of `run`, `cmd` and `entrypoint` is given to: `['/bin/bash', '-c']`. */
  shell(command: readonly string[]): ImageBuilder {
    const values = listOf('shell', command, 'a word');
    return this.#add('shell', () => ({ name: 'SHELL', values, source: `SHELL ${JSON.stringify(values)}` }));
  }

  /** `null`: none, though the base has one. */
  healthcheck(command: string | readonly string[] | null, options: HealthcheckOptions = {}): ImageBuilder {
    return this.#add('healthcheck', makeHealthcheck(command, options));
  }

  #value(method: string, name: 'WORKDIR' | 'USER' | 'STOPSIGNAL', text: string): ImageBuilder {
    const value = wordOf(method, text, 'the value');
    return this.#add(method, () => ({ name, value, source: `${name} ${text}` }));
  }

  #add(method: string, make: Call['make'], from: readonly (ImageSource | undefined)[] = []): ImageBuilder {
    const number = this.calls.filter(({ label }) => label.startsWith(`${method} #`)).length + 1;
    const sources = from.filter((source) => source instanceof ImageBuilder);
    const call: Call = { label: `${method} #${number}`, make, sources };
    return new ImageBuilder(this.base, this.platform, [...this.calls, call]);
  }
}

/** Where images begin. */
export const image = {
  /** On an image, by its name; 'scratch' is none. `platform`: another one than the build's. */
  from(base: string, { platform }: { platform?: string } = {}): ImageBuilder {
    if (textOf('from', base, 'the base') === '') throw bad('from', 'the base', base, 'the name of an image');
    if (platform !== undefined) textOf('from', platform, 'the platform');
    return new ImageBuilder(base, platform);
  },
  /** On nothing. */
  scratch(): ImageBuilder {
    return new ImageBuilder('scratch', undefined);
  },
} as const;
