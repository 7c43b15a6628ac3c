import { posix } from 'node:path';
import { DockerfileError, nearestName } from '../../formats/dockerfile/errors.ts';
import type { ExpandOptions } from '../../formats/dockerfile/expand.ts';
import type {
  AddInstruction,
  ArgInstruction,
  CommandInstruction,
  CopyInstruction,
  HealthcheckInstruction,
  ListInstruction,
  RunInstruction,
  StageInstruction,
} from '../../formats/dockerfile/instruction.ts';
import { parseMount } from '../../formats/dockerfile/mount.ts';
import { findWord, type Word } from '../../formats/dockerfile/position.ts';
import type { RawInstruction } from '../../formats/dockerfile/raw.ts';
import { parsePorts } from '../ports.ts';
import type { IgnoredFiles } from './ignored.ts';
import { describe, type StageOutline } from './outline.ts';
import type { CheckReport } from './report.ts';
import { keywordOf } from './syntax.ts';
import { expandNoting, findVariable } from './variables.ts';

/** Arguments that are no variables of RUN (BuildKit's SBOM scanner). */
const NO_VARIABLES = new Set(['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']);
const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const NO_SECRET = /(?:_|^)(?:public|file|version)(?:_|$)/i;

/** What a stage starts from, as far as it is known. */
export interface StageStart {
  variables: ReadonlyMap<string, string>;
  /** False: the base has more that nobody here knows. */
  known: boolean;
  declared: ReadonlySet<string>;
  shell: boolean;
  workdir: boolean;
}

export interface StageContext {
  expand: ExpandOptions;
  buildArgs: ReadonlyMap<string, string>;
  globalArgs: ReadonlyMap<string, string>;
  ignored: IgnoredFiles;
}

/** One instruction, and how it is written. */
export interface Checked {
  instruction: StageInstruction;
  raw: RawInstruction;
  report: CheckReport;
}

/** Follows what a stage's instructions set, and checks each with what it sees. Throws `DockerfileError`. */
export class StageWalk {
  readonly outline: StageOutline;
  readonly onbuild: string[] = [];
  readonly #context: StageContext;
  readonly #variables: Map<string, string>;
  readonly #declared: Set<string>;
  readonly #known: boolean;
  #shell: boolean;
  #workdir: boolean;
  /** The last of those that count once. */
  readonly #last: Map<string, RawInstruction> = new Map();

  constructor(start: StageStart, outline: StageOutline, context: StageContext) {
    this.outline = outline;
    this.#context = context;
    this.#variables = new Map(start.variables);
    this.#declared = new Set(start.declared);
    this.#known = start.known;
    this.#shell = start.shell;
    this.#workdir = start.workdir;
  }

  /** What a stage on top of this one starts from. */
  end(): StageStart {
    return {
      variables: this.#variables,
      known: this.#known,
      declared: this.#declared,
      shell: this.#shell,
      workdir: this.#workdir,
    };
  }

  check(checked: Checked): void {
    const { instruction, raw } = checked;
    switch (instruction.name) {
      case 'ARG':
        this.#arg(instruction, checked);
        break;
      case 'ENV':
      case 'LABEL':
        this.#pairs(checked);
        break;
      case 'COPY':
      case 'ADD':
        this.#copy(instruction, checked);
        break;
      case 'RUN':
        this.#run(instruction, checked);
        break;
      case 'CMD':
      case 'ENTRYPOINT':
      case 'HEALTHCHECK':
        this.#command(instruction, checked);
        break;
      case 'WORKDIR':
        this.#changeDirectory(this.#expand(instruction.value, checked), checked);
        break;
      case 'USER':
      case 'STOPSIGNAL':
        this.#expand(instruction.value, checked);
        break;
      case 'VOLUME':
        for (const value of instruction.values) {
          if (this.#expand(value, checked) !== '') continue;
          const problem = 'VOLUME specified can not be an empty string';
          throw new DockerfileError(problem, raw, undefined, argument(raw, value));
        }
        break;
      case 'EXPOSE':
        this.#expose(instruction, checked);
        break;
      case 'SHELL':
        this.#shell = true;
        break;
      case 'ONBUILD':
        this.onbuild.push(instruction.expression);
        break;
      default:
        // MAINTAINER is about spelling alone.
        raw satisfies RawInstruction;
    }
  }

  #expand(word: string, { raw, report }: Checked, options: ExpandOptions = this.#context.expand): string {
    const unset = new Set<string>();
    try {
      return expandNoting(word, this.#variables, options, raw, unset).text;
    } finally {
      for (const name of unset) this.#undefined(name, raw, report);
    }
  }

  #undefined(name: string, raw: RawInstruction, report: CheckReport): void {
    if (!this.#known || this.#declared.has(name) || NO_VARIABLES.has(name)) return;
    const near = nearestName(name, [...this.#variables.keys()]);
    const hint = near === undefined ? '' : ` (did you mean $${near}?)`;
    report.add('UndefinedVar', `Usage of undefined variable '$${name}'${hint}`, raw, findVariable(raw, name));
  }

  #arg({ args }: ArgInstruction, checked: Checked): void {
    const { buildArgs, globalArgs } = this.#context;
    const { raw } = checked;
    for (const { key, value: own } of args) {
      this.#secret('ARG', key, checked);
      const given = buildArgs.get(key);
      const inherited = own === undefined && given === undefined ? globalArgs.get(key) : undefined;
      const value = given ?? (own === undefined ? inherited : this.#expand(own, checked));
      if (value !== undefined && !NO_VARIABLES.has(key)) this.#variables.set(key, value);
      if (inherited === undefined) {
        const description = describe(raw.comments, key);
        const { line, endLine } = raw;
        this.outline.args.set(key, { name: key, description, value: value ?? '', uses: new Set(), line, endLine });
      }
      this.outline.used.add(key);
      this.#declared.add(key);
    }
  }

  #pairs(checked: Checked): void {
    const { raw, report } = checked;
    const pairs = raw.pairs.map(({ key, value, legacy }) => ({
      key: this.#expand(key, checked),
      value: this.#expand(value, checked),
      legacy,
    }));
    for (const { key, value, legacy } of pairs) {
      if (legacy) {
        const { keyword } = raw;
        const message = `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`;
        report.add('LegacyKeyValueFormat', message, raw, argument(raw, key));
      }
      if (raw.name !== 'ENV') continue;
      this.#secret('ENV', key, checked);
      this.#variables.set(key, value);
    }
  }

  #secret(instruction: string, key: string, { raw, report }: Checked): void {
    if (!SECRET.test(key) || NO_SECRET.test(key)) return;
    const message = `Do not use ARG or ENV instructions for sensitive data (${instruction} ${JSON.stringify(key)})`;
    report.add('SecretsUsedInArgOrEnv', message, raw, argument(raw, key));
  }

  #copy(instruction: CopyInstruction | AddInstruction, checked: Checked): void {
    const { raw, report } = checked;
    if (instruction.chown !== undefined) this.#expand(instruction.chown, checked);
    if (instruction.chmod !== undefined) this.#expand(instruction.chmod, checked);
    if (instruction.name === 'ADD' && instruction.checksum !== undefined) this.#expand(instruction.checksum, checked);
    const sources = instruction.sources.map((source) => ({ source, path: this.#expand(source, checked) }));
    this.#expand(instruction.dest, checked);
    for (const { content, expand } of instruction.inline) {
      if (expand) this.#expand(content, checked, { ignoreQuotes: true });
    }
    if (instruction.name === 'COPY' && instruction.from !== undefined) return;
    const verb = instruction.name === 'ADD' ? 'Add' : 'Copy';
    for (const { source, path } of sources) {
      if (verb === 'Add' && /^(?:https?|git|ssh):\/\/|^git@/.test(path)) continue;
      const name = this.#context.ignored.find(path);
      if (name === undefined) continue;
      const message = `Attempting to ${verb} file ${JSON.stringify(name)} that is excluded by .dockerignore`;
      report.add('CopyIgnoredFile', message, raw, argument(raw, source));
    }
  }

  #run({ mounts }: RunInstruction, checked: Checked): void {
    for (const text of mounts) {
      const mount = readMount(text, (value) => this.#expand(value, checked));
      if (mount === undefined) continue;
      const { id, source, target, required } = mount;
      const { line, endLine } = checked.raw;
      const add = (to: StageOutline['secrets'], name: string): void => {
        if (!to.has(name)) to.set(name, { name, required, line, endLine });
      };
      if (mount.type === 'secret') add(this.outline.secrets, source || id || posix.basename(target));
      if (mount.type === 'ssh') add(this.outline.ssh, id || 'default');
    }
  }

  #command(instruction: CommandInstruction | HealthcheckInstruction, { raw, report }: Checked): void {
    const before = this.#last.get(raw.name);
    if (before !== undefined) {
      const message = `Multiple ${raw.keyword} instructions should not be used in the same stage because only the last one will be used`;
      // The one that has no effect is the one to look at.
      report.add('MultipleInstructionsDisallowed', message, before, keywordOf(before));
    }
    this.#last.set(raw.name, raw);
    if (instruction.name === 'HEALTHCHECK' || !instruction.shell || this.#shell) return;
    const message = `JSON arguments recommended for ${raw.keyword} to prevent unintended behavior related to OS signals`;
    report.add('JSONArgsRecommended', message, raw, argument(raw, instruction.args[0] ?? '') ?? keywordOf(raw));
  }

  #changeDirectory(path: string, { raw, report }: Checked): void {
    if (!this.#workdir && !path.startsWith('/')) {
      const message = `Relative workdir ${JSON.stringify(path)} can have unexpected results if the base image changes`;
      report.add('WorkdirRelativePath', message, raw, argument(raw, raw.args[0]!));
    }
    this.#workdir = true;
  }

  #expose({ values }: ListInstruction, { raw, report }: Checked): void {
    for (const value of values) {
      const words = expandNoting(value, this.#variables, this.#context.expand, raw).words();
      for (const port of words) {
        const slash = port.indexOf('/');
        const protocol = slash < 0 ? '' : port.slice(slash + 1);
        const place = argument(raw, value);
        if (protocol !== protocol.toLowerCase()) {
          const message = `Defined protocol '${port}' in EXPOSE instruction should be lowercase`;
          report.add('ExposeProtoCasing', message, raw, place);
        }
        if (!/^:*[^:]*$/.test(slash < 0 ? port : port.slice(0, slash))) {
          const message = `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`;
          report.add('ExposeInvalidFormat', message, raw, place);
        }
        try {
          parsePorts(port);
        } catch (error) {
          throw new DockerfileError((error as Error).message, raw, error, place);
        }
      }
    }
  }
}

function argument(raw: RawInstruction, word: string): Word | undefined {
  return findWord(raw, word, raw.keyword.length);
}

/** What is wrong with a mount is told by the build. */
function readMount(text: string, expand: (value: string) => string): ReturnType<typeof parseMount> | undefined {
  try {
    return parseMount(text, expand);
  } catch (error) {
    if ((error as { code?: string }).code === 'BAD_MOUNT') return undefined;
    throw error;
  }
}
