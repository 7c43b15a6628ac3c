import { ImagoError } from '../../core/errors.ts';
import { findCheck } from '../../formats/dockerfile/directives.ts';
import { DockerfileError } from '../../formats/dockerfile/errors.ts';
import type { FromInstruction, Instruction } from '../../formats/dockerfile/instruction.ts';
import { readInstructions } from '../../formats/dockerfile/lines.ts';
import { mountOrigin } from '../../formats/dockerfile/mount.ts';
import { parseInstruction, parseTrigger } from '../../formats/dockerfile/parse.ts';
import { findWord } from '../../formats/dockerfile/position.ts';
import type { RawInstruction } from '../../formats/dockerfile/raw.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { type CheckConfig, parseCheckConfig } from './config.ts';
import { checkDefaults, GlobalScope, isReference, resolvePlatform } from './global.ts';
import { IgnoredFiles } from './ignored.ts';
import { describe, type Outline, StageOutline } from './outline.ts';
import { CheckReport, type CheckWarning } from './report.ts';
import { type StageContext, type StageStart, StageWalk } from './stage.ts';
import { checkDescription, checkFile, checkSpelling } from './syntax.ts';

/** Of images that set none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What of a base image the rules look at. */
export interface CheckedBase {
  env: readonly string[];
  shell: boolean;
  onbuild: readonly string[];
  platform?: Platform;
}

export interface CheckOptions {
  buildArgs: ReadonlyMap<string, string>;
  /** BUILDPLATFORM, TARGETARCH and the like. */
  platformArgs: ReadonlyMap<string, string>;
  platform: Platform;
  /** A stage's name or number; default: the last. */
  target?: string;
  /** Checks the stages that the target does not need, too. */
  all: boolean;
  /** Of the context's ignore file. */
  ignorePatterns: readonly string[];
  /** Undefined: nobody knows what it has. */
  baseOf(reference: string, platform: Platform): CheckedBase | undefined;
  /** Stages that `--build-context` stands in for. */
  isReplaced(name: string, platform: Platform): boolean;
}

export interface CheckResult {
  warnings: CheckWarning[];
  config: CheckConfig;
  outline: Outline;
  /** What ended the checking. */
  error?: ImagoError;
  /** Bases that are not known: variables were not checked on top of them. */
  unknown: string[];
}

interface Stage {
  from: FromInstruction;
  raw: RawInstruction;
  body: { instruction: Instruction; raw: RawInstruction }[];
  index: number;
  report: CheckReport;
  /** Name of the image, expanded. */
  image: string;
  platform: Platform;
  base: Stage | undefined;
  needs: Set<Stage>;
  outline: StageOutline;
  walk?: StageWalk;
}

/**
 * Checks a Dockerfile by the rules of `docker build --check`, in the order in which BuildKit finds things; errors come
 * beside the warnings before them. Throws `BAD_CHECK_OPTION`, `UNKNOWN_TARGET` never: the plan says so.
 */
export function checkDockerfile(text: string, options: CheckOptions): CheckResult {
  return new Checker(text, options).run();
}

class Checker {
  readonly #text: string;
  readonly #options: CheckOptions;
  readonly #config: CheckConfig;
  readonly #report: CheckReport;
  readonly #stages: Stage[] = [];
  readonly #unknown: Set<string> = new Set();
  #scope: GlobalScope | undefined;

  constructor(text: string, options: CheckOptions) {
    this.#text = text;
    this.#options = options;
    const given = options.buildArgs.get('BUILDKIT_DOCKERFILE_CHECK');
    this.#config = parseCheckConfig(given ?? findCheck(text)?.value.split(' ', 1)[0] ?? '');
    this.#report = new CheckReport(this.#config);
  }

  run(): CheckResult {
    let error: DockerfileError | undefined;
    try {
      this.#check();
    } catch (caught) {
      if (!(caught instanceof DockerfileError)) throw caught;
      error = caught;
    }
    const target = this.#target();
    const name = target?.from.stage ?? '';
    const { warnings } = this.#report;
    const outline = (target?.outline ?? new StageOutline()).collect(name, describe(target?.raw.comments ?? [], name));
    return { warnings, config: this.#config, outline, error, unknown: [...this.#unknown] };
  }

  #check(): void {
    const { file, failure } = readInstructions(this.#text);
    for (const raw of file.instructions) {
      if (raw.emptyLine === undefined) continue;
      const at = { line: raw.emptyLine, endLine: raw.emptyLine };
      this.#report.add('NoEmptyContinuation', 'Empty continuation line', at);
    }
    const globals = this.#parse(file.instructions);
    if (failure !== undefined) throw failure;
    const froms = this.#stages.map(({ raw }) => raw);
    const all = this.#stages.flatMap(({ raw, body }) => [raw, ...body.map((item) => item.raw)]);
    checkFile(froms, all, this.#report);
    checkDefaults(new GlobalScope(this.#options.platformArgs, file.escape), globals, froms, this.#report);
    const scope = new GlobalScope(this.#options.platformArgs, file.escape);
    scope.read(globals, this.#options.buildArgs);
    this.#scope = scope;
    for (const stage of this.#stages) this.#resolve(stage);
    const wanted = this.#wanted();
    for (const stage of this.#stages) if (wanted.has(stage)) this.#walk(stage);
  }

  /** What each instruction says, up to the first that says it wrong. */
  #parse(instructions: readonly RawInstruction[]): RawInstruction[] {
    const globals: RawInstruction[] = [];
    for (const raw of instructions) {
      const report = this.#report.at(raw);
      checkSpelling(raw, report);
      const instruction = parseInstruction(raw);
      if (instruction.name === 'FROM') {
        this.#addStage(instruction, raw, report);
        if (instruction.stage !== undefined) checkDescription(raw, [instruction.stage], report);
        continue;
      }
      if (instruction.name === 'ARG') {
        checkDescription(
          raw,
          instruction.args.map(({ key }) => key),
          report,
        );
      }
      const stage = this.#stages.at(-1);
      if (stage !== undefined) stage.body.push({ instruction, raw });
      else if (instruction.name === 'ARG') globals.push(raw);
      else throw new DockerfileError('no build stage in current context', raw);
    }
    return globals;
  }

  #addStage(from: FromInstruction, raw: RawInstruction, report: CheckReport): void {
    const { platform } = this.#options;
    const index = this.#stages.length;
    const rest = { body: [], index, report, image: '', platform, base: undefined, needs: new Set<Stage>() };
    this.#stages.push({ from, raw, ...rest, outline: new StageOutline() });
  }

  /** What a stage starts from and takes from. */
  #resolve(stage: Stage): void {
    const { from, raw, body, index } = stage;
    const scope = this.#scope!;
    const image = scope.expand(from.image, raw);
    scope.checkDeclared(image.unset, raw, stage.report);
    const place = findWord(raw, from.image, raw.keyword.length);
    if (image.text === '') {
      throw new DockerfileError(`base name (${from.image}) should not be blank`, raw, undefined, place);
    }
    stage.image = image.text;
    const used = new Set(image.set);
    if (from.platform !== undefined && from.platform !== '') {
      const { platform, uses } = resolvePlatform(scope, { from, raw, report: stage.report }, this.#options.platform);
      stage.platform = platform;
      for (const name of uses) used.add(name);
    }
    stage.base = this.#find(image.text, index);
    stage.outline = new StageOutline(scope.args, stage.base?.outline.used ?? []);
    for (const name of used) stage.outline.used.add(name);
    if (stage.base !== undefined) stage.needs.add(stage.base);
    for (const { instruction } of body) this.#need(stage, instruction);
  }

  #find(name: string, below: number): Stage | undefined {
    if (name === 'scratch') return undefined;
    return this.#stages.slice(0, below).findLast(({ from }) => from.stage === name.toLowerCase());
  }

  #need(stage: Stage, instruction: Instruction): void {
    const names = instruction.name === 'COPY' && instruction.from !== undefined ? [instruction.from] : [];
    if (instruction.name === 'RUN') names.push(...instruction.mounts.map(originOf));
    for (const name of names) {
      const numbered = /^\d+$/.test(name) && instruction.name === 'COPY' ? this.#stages[Number(name)] : undefined;
      const needed = numbered ?? this.#find(name, stage.index);
      if (needed === undefined || needed.index >= stage.index) continue;
      stage.needs.add(needed);
      stage.outline.needs.add(needed.outline);
    }
  }

  #target(): Stage | undefined {
    const { target } = this.#options;
    if (target === undefined || target === '') return this.#stages.at(-1);
    const named = this.#stages.findLast(({ from }) => from.stage === target.toLowerCase());
    return named ?? (/^\d+$/.test(target) ? this.#stages[Number(target)] : undefined);
  }

  #wanted(): Set<Stage> {
    const { all, target } = this.#options;
    if (all && (target === undefined || target === '')) return new Set(this.#stages);
    const wanted = new Set<Stage>();
    const open = [this.#target()];
    for (let stage = open.pop(); stage !== undefined; stage = open.pop()) {
      if (wanted.has(stage)) continue;
      wanted.add(stage);
      open.push(...stage.needs);
    }
    return wanted;
  }

  #walk(stage: Stage): void {
    const { from, raw, body, outline, base, platform } = stage;
    // Its instructions do not run.
    if (from.stage !== undefined && this.#options.isReplaced(from.stage, platform)) return;
    const scope = this.#scope!;
    const context: StageContext = {
      expand: scope.options,
      buildArgs: this.#options.buildArgs,
      globalArgs: scope.variables,
      ignored: new IgnoredFiles(this.#options.ignorePatterns),
    };
    if (base !== undefined) outline.needs.add(base.outline);
    const { start, triggers } = this.#start(stage);
    const walk = new StageWalk(start, outline, context);
    stage.walk = walk;
    for (const text of triggers) {
      const instruction = parseTrigger(text, from);
      if (instruction.name === 'FROM') throw new DockerfileError("FROM isn't allowed as an ONBUILD trigger", from);
      walk.check({ instruction, raw: triggerText(text, raw), report: this.#report });
    }
    for (const { instruction, raw: own } of body) {
      if (instruction.name === 'FROM') continue;
      walk.check({ instruction, raw: own, report: this.#report.at(own) });
    }
  }

  #start(stage: Stage): { start: StageStart; triggers: readonly string[] } {
    const { base, from, image, platform, raw } = stage;
    if (base?.walk !== undefined) return { start: base.walk.end(), triggers: base.walk.onbuild };
    if (!isReference(image)) {
      throw new DockerfileError(
        `invalid base image name ${JSON.stringify(image)}`,
        raw,
        undefined,
        findWord(raw, from.image),
      );
    }
    const found = image === 'scratch' ? undefined : this.#options.baseOf(image, platform);
    if (image !== 'scratch' && found === undefined) this.#unknown.add(image);
    const variables = new Map([['PATH', DEFAULT_PATH]]);
    for (const entry of found?.env ?? []) {
      const equals = entry.indexOf('=');
      variables.set(equals < 0 ? entry : entry.slice(0, equals), equals < 0 ? '' : entry.slice(equals + 1));
    }
    const { os, architecture } = found?.platform ?? platform;
    if (os !== platform.os || architecture !== platform.architecture) {
      const pulled = formatPlatform(found!.platform!);
      const message = `Base image ${image} was pulled with platform "${pulled}", expected "${formatPlatform(platform)}" for current build`;
      this.#report.add('InvalidBaseImagePlatform', message, raw, findWord(raw, image));
    }
    const known = image === 'scratch' || found !== undefined;
    const start = { variables, known, declared: new Set<string>(), shell: found?.shell ?? false, workdir: false };
    return { start, triggers: found?.onbuild ?? [] };
  }
}

/** A trigger is told of at the FROM that pulls it in. */
function triggerText(text: string, { line, endLine }: RawInstruction): RawInstruction {
  const { file } = readInstructions(text);
  return { ...file.instructions[0]!, line, endLine, segments: [] };
}

function originOf(mount: string): string {
  try {
    return mountOrigin(mount);
  } catch (error) {
    if (error instanceof ImagoError) return '';
    throw error;
  }
}
