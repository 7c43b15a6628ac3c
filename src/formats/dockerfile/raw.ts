import { DockerfileError, type LineRange, withSuggestion } from './errors.ts';
import type { Heredoc } from './heredoc.ts';
import { cutSegments, findWord, type Segment } from './position.ts';
import { parseJsonWords, splitFirst, splitQuoted, splitSpaces, takeFlags } from './words.ts';

/** An instruction with its words, not yet checked for what it means. */
export interface RawInstruction extends LineRange {
  /** In capitals. */
  name: InstructionName;
  /** As written. */
  keyword: string;
  /** The logical line: continuations joined, comments gone. */
  source: string;
  /** Where the parts of `source` stand. */
  segments: readonly Segment[];
  flags: string[];
  /** Words as the instruction splits them; one word for instructions that take the rest of the line. */
  args: string[];
  /** ENV and LABEL. `legacy` where a space stands for `=`. */
  pairs: { key: string; value: string; legacy: boolean }[];
  /** The arguments were a JSON array. */
  json: boolean;
  heredocs: Heredoc[];
  /** ONBUILD's instruction. */
  trigger?: RawInstruction;
  /** Comment lines right above. */
  comments: string[];
  /** There are empty lines between its continued lines, which is deprecated: the last of these lines. */
  emptyLine?: number;
}

/** What stands around an instruction's text. */
export interface RawContext {
  comments?: string[];
  segments?: readonly Segment[];
}

export type InstructionName = (typeof INSTRUCTION_NAMES)[number];

export const INSTRUCTION_NAMES = [
  'ADD',
  'ARG',
  'CMD',
  'COPY',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'FROM',
  'HEALTHCHECK',
  'LABEL',
  'MAINTAINER',
  'ONBUILD',
  'RUN',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
] as const;

/** How an instruction splits its arguments; parser/parser.go of BuildKit has the same table. */
type Form = 'rest' | 'words' | 'quoted' | 'pairs' | 'json' | 'jsonOrWords' | 'health' | 'trigger';
const FORMS: Record<InstructionName, Form> = {
  ADD: 'jsonOrWords',
  ARG: 'quoted',
  CMD: 'json',
  COPY: 'jsonOrWords',
  ENTRYPOINT: 'json',
  ENV: 'pairs',
  EXPOSE: 'words',
  FROM: 'words',
  HEALTHCHECK: 'health',
  LABEL: 'pairs',
  MAINTAINER: 'rest',
  ONBUILD: 'trigger',
  RUN: 'json',
  SHELL: 'json',
  STOPSIGNAL: 'rest',
  USER: 'rest',
  VOLUME: 'jsonOrWords',
  WORKDIR: 'rest',
};

/** Splits the text of one instruction into its words. Throws `DockerfileError`. */
export function parseRaw(text: string, escapeChar: string, at: LineRange, context: RawContext = {}): RawInstruction {
  const source = text.trim();
  const segments = cutSegments(context.segments ?? [], text.length - text.trimStart().length);
  const [keyword, line = ''] = splitFirst(source);
  const name = keyword.toUpperCase() as InstructionName;
  const form = Object.hasOwn(FORMS, name) ? FORMS[name] : undefined;
  if (form === undefined) {
    const problem = withSuggestion(`unknown instruction: ${keyword}`, keyword, INSTRUCTION_NAMES);
    throw new DockerfileError(problem, at, undefined, findWord({ source, segments }, keyword));
  }
  const { flags, rest } = takeFlags(line, escapeChar);
  const { comments = [] } = context;
  const { line: startLine, endLine } = at;
  const raw: RawInstruction = {
    ...{ line: startLine, endLine, name, keyword, source, segments, comments },
    ...{ flags, args: [], pairs: [], json: false, heredocs: [] },
  };
  fillArguments(raw, form, rest.trim(), escapeChar);
  return raw;
}

function fillArguments(raw: RawInstruction, form: Form, rest: string, escapeChar: string): void {
  switch (form) {
    case 'rest':
      raw.args = rest === '' ? [] : [rest];
      break;
    case 'words':
      raw.args = splitSpaces(rest);
      break;
    case 'quoted':
      raw.args = splitQuoted(rest, escapeChar);
      break;
    case 'pairs':
      raw.pairs = splitPairs(raw, rest, escapeChar);
      break;
    case 'trigger':
      if (rest !== '') raw.trigger = parseTriggerText(raw, rest, escapeChar);
      break;
    case 'health': {
      const [kind, command = ''] = splitFirst(rest);
      fillJson(raw, command, false);
      if (kind !== '') raw.args.unshift(kind);
      break;
    }
    default:
      fillJson(raw, rest, form === 'jsonOrWords');
  }
}

function parseTriggerText(raw: RawInstruction, rest: string, escapeChar: string): RawInstruction {
  const segments = cutSegments(raw.segments, raw.source.length - rest.length);
  const [word] = splitFirst(rest);
  const name = word.toUpperCase();
  const place = findWord({ source: rest, segments }, word);
  if (name === 'ONBUILD') {
    throw new DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", raw, undefined, place);
  }
  if (name === 'FROM' || name === 'MAINTAINER') {
    throw new DockerfileError(`${name} isn't allowed as an ONBUILD trigger`, raw, undefined, place);
  }
  return parseRaw(rest, escapeChar, raw, { segments });
}

function fillJson(raw: RawInstruction, rest: string, words: boolean): void {
  let json: string[] | undefined;
  try {
    json = parseJsonWords(rest);
  } catch (error) {
    throw new DockerfileError((error as Error).message, raw, undefined, findWord(raw, rest.trim()));
  }
  raw.json = json !== undefined;
  raw.args = json ?? (words ? splitSpaces(rest) : rest === '' ? [] : [rest]);
}

/** `KEY=value …`, or the old `KEY value` where the first word has no `=`. */
function splitPairs(raw: RawInstruction, rest: string, escapeChar: string): RawInstruction['pairs'] {
  const words = splitQuoted(rest, escapeChar);
  if (words.length === 0) return [];
  if (!words[0]!.includes('=')) {
    const [key, value] = splitFirst(rest);
    if (value === undefined) {
      const problem = `${raw.name} must have two arguments: wanted ${raw.name} ${key}=value`;
      throw new DockerfileError(problem, raw, undefined, findWord(raw, key, raw.keyword.length));
    }
    return [{ key, value, legacy: true }];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 0) {
      throw new DockerfileError(
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
        raw,
        undefined,
        findWord(raw, word, raw.keyword.length),
      );
    }
    return { key: word.slice(0, equals), value: word.slice(equals + 1), legacy: false };
  });
}
