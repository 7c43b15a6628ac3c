import { DockerfileError, type LineRange, withSuggestion } from './errors.ts';
import { parseFlags } from './flags.ts';
import { parseHealthcheck } from './healthcheck.ts';
import { chompTabs, parseHeredocWord } from './heredoc.ts';
import type {
  AddInstruction,
  ArgInstruction,
  CommandLine,
  CopyInstruction,
  Dockerfile,
  FromInstruction,
  InlineFile,
  Instruction,
  OnbuildInstruction,
  RunInstruction,
} from './instruction.ts';
import { readInstructions, splitInstructions } from './lines.ts';
import { findWord, type Positioned, wordAt } from './position.ts';
import type { RawInstruction } from './raw.ts';

const STAGE_NAME = /^[a-z][a-z0-9\-_.]*$/;

/** Parses a whole Dockerfile. Throws `DockerfileError` with the line. Variables stay unexpanded. */
export function parseDockerfile(text: string): Dockerfile {
  const { file: raw, failure } = readInstructions(text);
  const file: Dockerfile = { directives: raw.directives, escape: raw.escape, globalArgs: [], stages: [] };
  // What is wrong further up comes first.
  for (const item of raw.instructions) {
    const instruction = parseInstruction(item);
    const stage = file.stages.at(-1);
    if (instruction.name === 'FROM') file.stages.push({ from: instruction, instructions: [] });
    else if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.name === 'ARG') file.globalArgs.push(instruction);
    else throw wrong(item, `no build stage in current context: wanted FROM before ${instruction.name}`, item.keyword);
  }
  if (failure !== undefined) throw failure;
  if (file.stages.length === 0) {
    const last = raw.instructions.at(-1)!;
    throw new DockerfileError('no build stage: wanted FROM after the ARGs', last);
  }
  return file;
}

/** An ONBUILD trigger of an image, as the instruction that it is. `at` is the FROM that pulls it in. */
export function parseTrigger(expression: string, at: LineRange): Instruction {
  const { instructions } = splitInstructions(expression);
  if (instructions.length !== 1) throw new DockerfileError('onbuild trigger should be a single expression', at);
  const { line, endLine } = at;
  return parseInstruction({ ...instructions[0]!, line, endLine, segments: [] });
}

function placeOf({ line, endLine, source, segments }: RawInstruction): LineRange & Positioned {
  return { line, endLine, source, segments };
}

/** `word`: what in the instruction it is about. */
function wrong(raw: RawInstruction, problem: string, word?: string): DockerfileError {
  const place = word === undefined ? undefined : findWord(raw, word, word === raw.keyword ? 0 : raw.keyword.length);
  return new DockerfileError(problem, raw, undefined, place);
}

/** Gives an instruction's words their meaning. */
export function parseInstruction(raw: RawInstruction): Instruction {
  const base = placeOf(raw);
  switch (raw.name) {
    case 'FROM':
      return parseFrom(raw);
    case 'RUN':
      return parseRun(raw);
    case 'COPY':
      return parseCopy(raw);
    case 'ADD':
      return parseAdd(raw);
    case 'ARG':
      return parseArg(raw);
    case 'ONBUILD':
      return parseOnbuild(raw);
    case 'HEALTHCHECK':
      return { ...base, name: raw.name, health: parseHealthcheck(raw) };
    case 'ENV':
    case 'LABEL':
      parseFlags(raw, {});
      if (raw.pairs.length === 0) throw wrong(raw, `${raw.name} requires at least one argument`, raw.keyword);
      checkNames(raw);
      return { ...base, name: raw.name, pairs: raw.pairs.map(({ key, value }) => ({ key, value })) };
    case 'CMD':
    case 'ENTRYPOINT':
      parseFlags(raw, {});
      return { ...base, name: raw.name, ...commandLine(raw) };
    case 'WORKDIR':
    case 'USER':
    case 'STOPSIGNAL':
    case 'MAINTAINER':
      parseFlags(raw, {});
      if (raw.args.length !== 1) throw wrong(raw, `${raw.name} requires exactly one argument`, raw.keyword);
      return { ...base, name: raw.name, value: raw.args[0]! };
    case 'EXPOSE':
    case 'VOLUME':
    case 'SHELL':
      return { ...base, name: raw.name, values: parseList(raw) };
  }
}

function checkNames(raw: RawInstruction): void {
  const blank = raw.pairs.find((pair) => pair.key === '');
  if (blank !== undefined) throw wrong(raw, `${raw.name} names can not be blank`, `=${blank.value}`);
}

function parseList(raw: RawInstruction): string[] {
  parseFlags(raw, {});
  if (raw.args.length === 0) throw wrong(raw, `${raw.name} requires at least one argument`, raw.keyword);
  if (raw.name === 'SHELL' && !raw.json) {
    const problem = 'SHELL requires the arguments to be in JSON form: wanted SHELL ["executable", "-c"]';
    throw wrong(raw, problem, raw.args[0]);
  }
  const values = raw.args.map((value) => (raw.name === 'VOLUME' ? value.trim() : value));
  if (raw.name === 'VOLUME' && values.includes('')) {
    throw wrong(raw, 'VOLUME specified can not be an empty string', '""');
  }
  return raw.name === 'EXPOSE' ? values.sort() : values;
}

function parseFrom(raw: RawInstruction): FromInstruction {
  const flags = parseFlags(raw, { platform: 'string' });
  const { args } = raw;
  const named = args.length === 3 && args[1]!.toLowerCase() === 'as';
  if (args.length !== 1 && !named) {
    throw wrongFrom(raw);
  }
  const stage = named ? args[2]!.toLowerCase() : undefined;
  if (stage !== undefined && !STAGE_NAME.test(stage)) {
    const problem = `invalid name for build stage: ${JSON.stringify(args[2])}, name can't start with a number or contain symbols`;
    throw wrong(raw, problem, args[2]);
  }
  return { ...placeOf(raw), name: 'FROM', image: args[0]!, stage, platform: flags.string('platform') };
}

function wrongFrom(raw: RawInstruction): DockerfileError {
  const problem = 'FROM requires either one or three arguments: wanted FROM image [AS name]';
  const { args, source } = raw;
  if (args.length !== 3) return wrong(raw, problem, args[1] ?? raw.keyword);
  const told = withSuggestion(problem, args[1]!, ['AS']);
  // The image may be called like the word in its place.
  const at = source.length - args[2]!.length - 1 - args[1]!.length;
  return new DockerfileError(told, raw, undefined, wordAt(raw, source.lastIndexOf(args[1]!, at), args[1]!.length));
}

function commandLine(raw: RawInstruction): CommandLine {
  return { args: raw.args, shell: !raw.json };
}

function parseRun(raw: RawInstruction): RunInstruction {
  const flags = parseFlags(raw, { mount: 'list', network: 'string', security: 'string', device: 'list' });
  return {
    ...commandLine(raw),
    ...placeOf(raw),
    name: 'RUN',
    heredocs: raw.heredocs,
    mounts: flags.list('mount'),
    devices: flags.list('device'),
    network: flags.string('network'),
    security: flags.string('security'),
  };
}

function copyOperands(raw: RawInstruction): { sources: string[]; inline: InlineFile[]; dest: string } {
  if (raw.args.length < 2) {
    const [only] = raw.args;
    const problem =
      only === undefined
        ? `${raw.name} requires at least two arguments: wanted ${raw.name} source... destination`
        : `${raw.name} requires at least two arguments, but only one was provided. Destination could not be determined`;
    throw wrong(raw, problem, only || raw.keyword);
  }
  const dest = raw.args.at(-1)!;
  if (parseHeredocWord(dest) !== undefined) {
    throw wrong(raw, `${raw.name} cannot accept a heredoc as a destination`, dest);
  }
  const sources: string[] = [];
  const inline: InlineFile[] = [];
  for (const word of raw.args.slice(0, -1)) {
    const announced = raw.json ? undefined : parseHeredocWord(word);
    if (announced === undefined) sources.push(word);
    else {
      const content = raw.heredocs.findLast((doc) => doc.name === announced.name)?.content ?? '';
      const { name, expand } = announced;
      inline.push({ name, expand, content: announced.chomp ? chompTabs(content) : content });
    }
  }
  return { sources, inline, dest };
}

function parseCopy(raw: RawInstruction): CopyInstruction {
  const flags = parseFlags(raw, {
    from: 'string',
    chown: 'string',
    chmod: 'string',
    link: 'boolean',
    parents: 'boolean',
    exclude: 'list',
  });
  return {
    ...copyOperands(raw),
    ...placeOf(raw),
    name: 'COPY',
    from: flags.string('from'),
    chown: flags.string('chown'),
    chmod: flags.string('chmod'),
    link: flags.boolean('link') ?? false,
    parents: flags.boolean('parents') ?? false,
    exclude: flags.list('exclude'),
  };
}

function parseAdd(raw: RawInstruction): AddInstruction {
  const flags = parseFlags(raw, {
    chown: 'string',
    chmod: 'string',
    link: 'boolean',
    'keep-git-dir': 'boolean',
    checksum: 'string',
    unpack: 'boolean',
    exclude: 'list',
  });
  return {
    ...copyOperands(raw),
    ...placeOf(raw),
    name: 'ADD',
    chown: flags.string('chown'),
    chmod: flags.string('chmod'),
    link: flags.boolean('link') ?? false,
    checksum: flags.string('checksum'),
    keepGitDir: flags.boolean('keep-git-dir'),
    unpack: flags.boolean('unpack'),
    exclude: flags.list('exclude'),
  };
}

function parseArg(raw: RawInstruction): ArgInstruction {
  parseFlags(raw, {});
  if (raw.args.length === 0) throw wrong(raw, 'ARG requires at least one argument', raw.keyword);
  const args = raw.args.map((word) => {
    const equals = word.indexOf('=');
    if (equals === 0) throw wrong(raw, 'ARG names can not be blank', word);
    return equals < 0 ? { key: word } : { key: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { ...placeOf(raw), name: 'ARG', args };
}

function parseOnbuild(raw: RawInstruction): OnbuildInstruction {
  const { trigger } = raw;
  parseFlags(raw, {});
  if (trigger === undefined) throw wrong(raw, 'ONBUILD requires at least one argument', raw.keyword);
  let expression = raw.source.replace(/^ONBUILD\s*/i, '');
  for (const doc of raw.heredocs) expression += `\n${doc.content}${doc.name}`;
  return { ...placeOf(raw), name: 'ONBUILD', expression, trigger };
}
