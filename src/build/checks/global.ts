import { DockerfileError, nearestName } from '../../formats/dockerfile/errors.ts';
import type { ExpandOptions } from '../../formats/dockerfile/expand.ts';
import type { FromInstruction } from '../../formats/dockerfile/instruction.ts';
import { parseInstruction } from '../../formats/dockerfile/parse.ts';
import { findWord } from '../../formats/dockerfile/position.ts';
import type { RawInstruction } from '../../formats/dockerfile/raw.ts';
import { type Platform, parsePlatform } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import { describe, type OutlineArg } from './outline.ts';
import type { CheckReport } from './report.ts';
import { type Expansion, expandNoting, findVariable } from './variables.ts';

/** What FROM sees: the ARGs above the first one, and those of the platforms. */
export class GlobalScope {
  readonly variables: Map<string, string>;
  readonly args: Map<string, OutlineArg> = new Map();
  readonly options: ExpandOptions;

  constructor(platformArgs: ReadonlyMap<string, string>, escapeChar: string) {
    this.variables = new Map(platformArgs);
    this.options = { escape: escapeChar };
  }

  read(globals: readonly RawInstruction[], buildArgs: ReadonlyMap<string, string>): void {
    for (const raw of globals) {
      const instruction = parseInstruction(raw);
      if (instruction.name !== 'ARG') continue;
      for (const { key, value } of instruction.args) {
        const given = buildArgs.get(key);
        const expansion = given === undefined && value !== undefined ? this.expand(value, raw) : undefined;
        const final = given ?? expansion?.text;
        if (final !== undefined) this.variables.set(key, final);
        const uses = new Set(expansion?.set ?? []);
        if (uses.delete(key)) for (const name of this.args.get(key)?.uses ?? []) uses.add(name);
        const { line, endLine, comments } = raw;
        const description = describe(comments, key);
        this.args.set(key, { name: key, description, value: final ?? '', uses, line, endLine });
      }
    }
  }

  expand(word: string, raw: RawInstruction): Expansion {
    return expandNoting(word, this.variables, this.options, raw);
  }

  checkDeclared(unset: ReadonlySet<string>, raw: RawInstruction, report: CheckReport): void {
    for (const name of unset) {
      if (this.args.has(name) || this.variables.has(name)) continue;
      const near = nearestName(name, [...new Set([...this.args.keys(), ...this.variables.keys()])]);
      const hint = near === undefined ? '' : ` (did you mean ${near}?)`;
      const message = `FROM argument '${name}' is not declared${hint}`;
      report.add('UndefinedArgInFrom', message, raw, findVariable(raw, name));
    }
  }

  /** What is near one of the variables that are not set. */
  hint(unset: ReadonlySet<string>): string {
    for (const name of unset) {
      const near = nearestName(name, [...this.variables.keys()]);
      if (near !== undefined) return ` (did you mean ${near}?)`;
    }
    return '';
  }
}

/** With the ARGs' own values there must be a base, too. `scope` is used up. */
export function checkDefaults(
  scope: GlobalScope,
  globals: readonly RawInstruction[],
  froms: readonly RawInstruction[],
  report: CheckReport,
): void {
  try {
    scope.read(globals, new Map());
    for (const raw of froms) {
      const image = raw.args[0]!;
      if (isReference(scope.expand(image, raw).text)) continue;
      const message = `Default value for ARG ${image} results in empty or invalid base image name`;
      report.add('InvalidDefaultArgInFrom', message, raw, findWord(raw, image, raw.keyword.length));
    }
  } catch (error) {
    // Told again, with the values that count.
    if (!(error instanceof DockerfileError)) throw error;
  }
}

/** `--platform` of FROM, and the variables that it uses. Throws `DockerfileError`. */
export function resolvePlatform(
  scope: GlobalScope,
  stage: { from: FromInstruction; raw: RawInstruction; report: CheckReport },
  fallback: Platform,
): { platform: Platform; uses: ReadonlySet<string> } {
  const { from, raw, report } = stage;
  const written = from.platform!;
  const { text, set, unset } = scope.expand(written, raw);
  const place = findWord(raw, `--platform=${written}`) ?? findWord(raw, '--platform');
  scope.checkDeclared(unset, raw, report);
  if (
    set.size === 1 &&
    unset.size === 0 &&
    text === scope.variables.get('TARGETPLATFORM') &&
    set.has('TARGETPLATFORM')
  ) {
    const message = `Setting platform to predefined ${written} in FROM is redundant as this is the default behavior`;
    report.add('RedundantTargetPlatform', message, raw, place);
  }
  if (text === '') {
    const problem = `empty platform value from expression ${written}${scope.hint(unset)}`;
    throw new DockerfileError(problem, raw, undefined, place);
  }
  let platform: Platform;
  try {
    platform = parsePlatform(text, fallback);
  } catch (error) {
    throw new DockerfileError(`${(error as Error).message}${scope.hint(unset)}`, raw, error, place);
  }
  const name = from.stage ?? '';
  if (set.size + unset.size === 0 && !name.includes(platform.os) && !name.includes(platform.architecture)) {
    const message = `FROM --platform flag should not use constant value ${JSON.stringify(text)}`;
    report.add('FromPlatformFlagConstDisallowed', message, raw, place);
  }
  return { platform, uses: set };
}

export function isReference(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch {
    return false;
  }
}
