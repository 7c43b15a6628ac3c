import type { Directives } from './directives.ts';
import type { LineRange } from './errors.ts';
import type { Heredoc } from './heredoc.ts';
import type { Positioned, Segment } from './position.ts';
import type { RawInstruction } from './raw.ts';

export interface KeyValue {
  key: string;
  value: string;
}

/** What all instructions have: where they stand and how they read. */
interface Base extends LineRange, Positioned {
  /** The logical line as written. */
  source: string;
  /** Where its parts stand; what no Dockerfile has written has none. */
  segments?: readonly Segment[];
}

/** A command line: `shell` where it is one string for the image's shell, else the argument vector. */
export interface CommandLine {
  args: string[];
  shell: boolean;
}

/** A file that COPY or ADD has in the Dockerfile itself. */
export interface InlineFile {
  name: string;
  content: string;
  /** Variables in the content are to be expanded. */
  expand: boolean;
}

interface CopyFields {
  sources: string[];
  inline: InlineFile[];
  dest: string;
  chown?: string;
  chmod?: string;
  link: boolean;
  exclude: string[];
}

export interface FromInstruction extends Base {
  name: 'FROM';
  image: string;
  stage?: string;
  platform?: string;
}
export interface RunInstruction extends Base, CommandLine {
  name: 'RUN';
  heredocs: Heredoc[];
  mounts: string[];
  devices: string[];
  network?: string;
  security?: string;
}
export interface CopyInstruction extends Base, CopyFields {
  name: 'COPY';
  from?: string;
  parents: boolean;
}
export interface AddInstruction extends Base, CopyFields {
  name: 'ADD';
  checksum?: string;
  keepGitDir?: boolean;
  unpack?: boolean;
}
export interface ArgInstruction extends Base {
  name: 'ARG';
  args: { key: string; value?: string }[];
}
export interface PairsInstruction extends Base {
  name: 'ENV' | 'LABEL';
  pairs: KeyValue[];
}
export interface CommandInstruction extends Base, CommandLine {
  name: 'CMD' | 'ENTRYPOINT';
}
/** Instructions of one plain value. */
export interface ValueInstruction extends Base {
  name: 'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER';
  value: string;
}
export interface ListInstruction extends Base {
  name: 'EXPOSE' | 'VOLUME' | 'SHELL';
  values: string[];
}
/** Times in nanoseconds, as the image config has them; 0 or undefined = the default. */
export interface Healthcheck {
  test: string[];
  interval?: number;
  timeout?: number;
  startPeriod?: number;
  startInterval?: number;
  retries?: number;
}
export interface HealthcheckInstruction extends Base {
  name: 'HEALTHCHECK';
  health: Healthcheck;
}
export interface OnbuildInstruction extends Base {
  name: 'ONBUILD';
  /** The trigger's text, heredocs included, as the image config keeps it. */
  expression: string;
  trigger: RawInstruction;
}

export type Instruction =
  | FromInstruction
  | RunInstruction
  | CopyInstruction
  | AddInstruction
  | ArgInstruction
  | PairsInstruction
  | CommandInstruction
  | ValueInstruction
  | ListInstruction
  | HealthcheckInstruction
  | OnbuildInstruction;

/** What may stand in a stage. */
export type StageInstruction = Exclude<Instruction, FromInstruction>;

export interface Stage {
  from: FromInstruction;
  instructions: StageInstruction[];
}

export interface Dockerfile {
  directives: Directives;
  escape: string;
  /** ARGs before the first FROM. */
  globalArgs: ArgInstruction[];
  stages: Stage[];
}
