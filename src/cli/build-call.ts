import type { CheckWarning } from '../build/checks/report.ts';
import { ImagoError } from '../core/errors.ts';
import { type CheckRun, checkBuild } from '../engine/build-checks.ts';
import type { BuildOptions } from '../engine/build-options.ts';
import { DockerfileError, type LineRange, nearestWord } from '../formats/dockerfile/errors.ts';
import { printExcerpt, printSource } from './build-error.ts';
import { escapeControls } from './build-output-text.ts';
import type { Output } from './build-printer.ts';
import type { CommandContext } from './command.ts';

/** `--call`: what to do with the Dockerfile instead of building it. */
export interface Call {
  name: 'check' | 'outline' | 'targets';
  json: boolean;
  ignoreStatus: boolean;
}

const NAMES = ['build', 'check', 'lint', 'outline', 'targets'];

/** `NAME[,format=json][,ignorestatus=true]`; undefined is an ordinary build. Throws `BAD_FLAG_VALUE`. */
export function parseCall(text: string): Call | undefined {
  let name: string | undefined;
  let json = false;
  let ignoreStatus = false;
  for (const field of text.split(',')) {
    const [key, value] = field.split('=', 2);
    if (value === undefined && name === undefined && NAMES.includes(key!)) name = key!;
    else if (key === 'format' && (value === 'json' || value === 'text')) json = value === 'json';
    else if (key === 'ignorestatus' && (value === 'true' || value === 'false')) ignoreStatus = value === 'true';
    else throw badCall(text, field);
  }
  if (name === undefined) throw badCall(text, text);
  if (name === 'build') return undefined;
  return { name: name === 'lint' ? 'check' : (name as Call['name']), json, ignoreStatus };
}

function badCall(text: string, field: string): ImagoError {
  const near = nearestWord(field, NAMES);
  return new ImagoError('BAD_FLAG_VALUE', 'invalid value of --call', {
    want: 'check, outline or targets, with ,format=json or ,ignorestatus=true behind it',
    got: text,
    remedy: near === undefined ? undefined : `did you mean ${near}?`,
    exitCode: 125,
  });
}

/** Does what `--call` says. Returns the exit status: 1 where a check found something, as docker's. */
export async function runCall(call: Call, context: CommandContext, build: BuildOptions): Promise<number> {
  const { stdout, stderr, signal } = context;
  // A list of targets says nothing of what is in their bases.
  const pull = call.name === 'targets' ? 'never' : build.pull;
  const run = await checkBuild(context.openStore(), { ...build, pull, signal });
  if (call.name === 'check') return printCheck(call, run, stdout, stderr);
  if (run.error !== undefined) {
    printExcerpt(stderr, run.error, () => run.source);
    throw run.error;
  }
  if (call.name === 'outline') stdout.write(call.json ? outlineJson(run) : outlineText(run));
  else stdout.write(call.json ? targetsJson(run) : targetsText(run));
  return 0;
}

function printCheck({ json, ignoreStatus }: Call, run: CheckRun, stdout: Output, stderr: Output): number {
  const { warnings, error, unknown, source } = run;
  const status = ignoreStatus || (warnings.length === 0 && error === undefined) ? 0 : 1;
  if (json) {
    stdout.write(checkJson(run));
    return status;
  }
  if (unknown.length > 0) {
    const names = unknown.map((name) => escapeControls(name)).join(', ');
    stderr.write(
      `Variables are not checked on top of ${names}: neither in the store nor to be had from its registry\n`,
    );
  }
  if (warnings.length > 0) {
    const count = warnings.length === 1 ? '1 warning has' : `${warnings.length} warnings have`;
    stdout.write(`Check complete, ${count} been found!\n`);
  }
  for (const warning of warnings.toSorted((a, b) => a.line - b.line)) {
    const { rule, url, message } = warning;
    stdout.write(`\nWARNING: ${rule}${url === undefined ? '' : ` - ${url}`}\n${escapeControls(message)}\n`);
    printSource(stdout, source, warning, warning.word);
  }
  if (error !== undefined) {
    if (warnings.length > 0) stdout.write('\n');
    printExcerpt(stderr, error, () => source);
    throw error;
  }
  if (warnings.length === 0) stdout.write('Check complete, no warnings found.\n');
  return status;
}

/** The protobuf message `Location` (solver/pb/ops.proto): a range for each line; characters count from 0. */
function location({ line, endLine }: LineRange, word?: CheckWarning['word'], sourceIndex = true): object {
  const ranges: object[] = [];
  for (let number = line; number <= Math.max(line, endLine); number++) {
    const start = word?.line === number ? { line: number, character: word.column - 1 } : { line: number };
    const end = word?.line === number ? { line: number, character: word.column - 1 + word.length } : { line: number };
    ranges.push({ start: dropZero(start), end });
  }
  return sourceIndex ? { ranges } : { ranges };
}

function dropZero(position: { line: number; character?: number }): object {
  return position.character === 0 ? { line: position.line } : position;
}

/** lint.LintResults (frontend/subrequests/lint). */
function checkJson({ warnings, error, source }: CheckRun): string {
  const data = Buffer.from(source.text).toString('base64');
  const at = error instanceof DockerfileError ? location(error, error.word) : {};
  return printJson({
    warnings:
      warnings.length === 0
        ? null
        : warnings.map(({ rule, description, url, message, word, ...range }) => ({
            ruleName: rule,
            description,
            ...(url !== undefined && { url }),
            detail: message,
            location: location(range, word),
          })),
    sources: [{ filename: source.name, language: 'Dockerfile', data }],
    ...(error !== undefined && { buildError: { message: error.message, location: at } }),
  });
}

/** outline.Outline (frontend/subrequests/outline). */
function outlineJson({ outline, source }: CheckRun): string {
  const { name, description, args, secrets, ssh } = outline;
  const required = (items: typeof secrets): object[] =>
    items.map((item) => ({
      name: item.name,
      ...(item.required && { required: true }),
      location: location(item),
    }));
  return printJson({
    ...(name !== '' && { name }),
    ...(description !== '' && { description }),
    ...(args.length > 0 && {
      args: args.map((arg) => ({
        name: arg.name,
        ...(arg.description !== '' && { description: arg.description }),
        ...(arg.value !== '' && { value: arg.value }),
        location: location(arg),
      })),
    }),
    ...(secrets.length > 0 && { secrets: required(secrets) }),
    ...(ssh.length > 0 && { ssh: required(ssh) }),
    sources: [Buffer.from(source.text).toString('base64')],
  });
}

function outlineText({ outline }: CheckRun): string {
  const { name, description, args, secrets, ssh } = outline;
  const tables: string[] = [];
  if (name !== '' || description !== '') {
    const rows = [['TARGET:', name === '' ? '(default)' : name]];
    if (description !== '') rows.push(['DESCRIPTION:', description]);
    tables.push(layOut(rows, 1));
  }
  const required = (items: typeof secrets): string[][] => items.map((item) => [item.name, item.required ? 'true' : '']);
  if (args.length > 0) {
    const rows = args.map((arg) => [arg.name, arg.value, arg.description]);
    tables.push(layOut([['BUILD ARG', 'VALUE', 'DESCRIPTION'], ...rows], 3));
  }
  if (secrets.length > 0) tables.push(layOut([['SECRET', 'REQUIRED'], ...required(secrets)], 3));
  if (ssh.length > 0) tables.push(layOut([['SSH', 'REQUIRED'], ...required(ssh)], 3));
  return tables.map((table) => `${table}\n`).join('');
}

/** targets.List (frontend/subrequests/targets). */
function targetsJson({ targets, source }: CheckRun): string {
  return printJson({
    targets: targets.map((target) => ({
      ...(target.name !== '' && { name: target.name }),
      ...(target.default && { default: true }),
      ...(target.description !== '' && { description: target.description }),
      base: target.base,
      ...(target.platform !== undefined && { platform: target.platform }),
      location: location(target),
    })),
    sources: [Buffer.from(source.text).toString('base64')],
  });
}

function targetsText({ targets }: CheckRun): string {
  const rows = targets.map((target) => {
    const name = target.name === '' ? '(default)' : `${target.name} (default)`;
    return [target.default ? name : target.name, target.description];
  });
  return layOut([['TARGET', 'DESCRIPTION'], ...rows], 1);
}

/** Go's tabwriter: columns as wide as their widest cell, the last not padded. */
function layOut(rows: readonly (readonly string[])[], padding: number): string {
  const shown = rows.map((row) => row.map((cell) => escapeControls(cell)));
  const widths = shown[0]!.map((_, i) => Math.max(...shown.map((row) => Array.from(row[i]!).length)) + padding);
  const line = (row: string[]): string =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! - Array.from(cell).length)))
      .join('');
  return shown.map((row) => `${line(row)}\n`).join('');
}

function printJson(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
