import { DockerfileError, type LineRange } from './errors.ts';
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
import { splitInstructions } from './lines.ts';
import type { RawInstruction } from './raw.ts';

const STAGE_NAME = /^[a-z][a-z0-9\-_.]*$/;

/** Parses a whole Dockerfile. Throws `DockerfileError` with the line. Variables stay unexpanded. */
export function parseDockerfile(text: string): Dockerfile {
  const raw = splitInstructions(text);
  const file: Dockerfile = {
    directives: raw.directives,
    escape: raw.escape,
    globalArgs: [],
    stages: [],
    warnings: raw.warnings,
  };
  for (const item of raw.instructions) {
    const instruction = parseInstruction(item);
    const stage = file.stages.at(-1);
    if (instruction.name === 'FROM') file.stages.push({ from: instruction, instructions: [] });
    else if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.name === 'ARG') file.globalArgs.push(instruction);
    else throw new DockerfileError(`no build stage in current context: wanted FROM before ${instruction.name}`, item);
  }
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
  return parseInstruction({ ...instructions[0]!, line, endLine });
}

/** Gives an instruction's words their meaning. */
export function parseInstruction(raw: RawInstruction): Instruction {
  const base = { line: raw.line, endLine: raw.endLine, source: raw.source };
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
      if (raw.pairs.length === 0) throw new DockerfileError(`${raw.name} requires at least one argument`, raw);
      if (raw.pairs.some((pair) => pair.key === ''))
        throw new DockerfileError(`${raw.name} names can not be blank`, raw);
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
      if (raw.args.length !== 1) throw new DockerfileError(`${raw.name} requires exactly one argument`, raw);
      return { ...base, name: raw.name, value: raw.args[0]! };
    case 'EXPOSE':
    case 'VOLUME':
    case 'SHELL':
      return { ...base, name: raw.name, values: parseList(raw) };
  }
}

function parseList(raw: RawInstruction): string[] {
  parseFlags(raw, {});
  if (raw.args.length === 0) throw new DockerfileError(`${raw.name} requires at least one argument`, raw);
  if (raw.name === 'SHELL' && !raw.json) {
    throw new DockerfileError(
      `SHELL requires the arguments to be in JSON form: wanted SHELL ["executable", "-c"]`,
      raw,
    );
  }
  const values = raw.args.map((value) => (raw.name === 'VOLUME' ? value.trim() : value));
  if (raw.name === 'VOLUME' && values.includes('')) {
    throw new DockerfileError('VOLUME specified can not be an empty string', raw);
  }
  return raw.name === 'EXPOSE' ? values.sort() : values;
}

function parseFrom(raw: RawInstruction): FromInstruction {
  const flags = parseFlags(raw, { platform: 'string' });
  const { args } = raw;
  const named = args.length === 3 && args[1]!.toLowerCase() === 'as';
  if (args.length !== 1 && !named) {
    throw new DockerfileError('FROM requires either one or three arguments: wanted FROM image [AS name]', raw);
  }
  const stage = named ? args[2]!.toLowerCase() : undefined;
  if (stage !== undefined && !STAGE_NAME.test(stage)) {
    throw new DockerfileError(
      `invalid name for build stage: ${JSON.stringify(args[2])}, name can't start with a number or contain symbols`,
      raw,
    );
  }
  const { line, endLine, source } = raw;
  return { name: 'FROM', line, endLine, source, image: args[0]!, stage, platform: flags.string('platform') };
}

function commandLine(raw: RawInstruction): CommandLine {
  return { args: raw.args, shell: !raw.json };
}

function parseRun(raw: RawInstruction): RunInstruction {
  const flags = parseFlags(raw, { mount: 'list', network: 'string', security: 'string', device: 'list' });
  const { line, endLine, source, heredocs } = raw;
  return {
    ...commandLine(raw),
    name: 'RUN',
    line,
    endLine,
    source,
    heredocs,
    mounts: flags.list('mount'),
    network: flags.string('network'),
    security: flags.string('security'),
  };
}

function copyOperands(raw: RawInstruction): { sources: string[]; inline: InlineFile[]; dest: string } {
  if (raw.args.length < 2) {
    throw new DockerfileError(
      raw.args.length === 0
        ? `${raw.name} requires at least two arguments: wanted ${raw.name} source... destination`
        : `${raw.name} requires at least two arguments, but only one was provided. Destination could not be determined`,
      raw,
    );
  }
  const dest = raw.args.at(-1)!;
  if (parseHeredocWord(dest) !== undefined) {
    throw new DockerfileError(`${raw.name} cannot accept a heredoc as a destination`, raw);
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
  const { line, endLine, source } = raw;
  return {
    ...copyOperands(raw),
    name: 'COPY',
    line,
    endLine,
    source,
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
  const { line, endLine, source } = raw;
  return {
    ...copyOperands(raw),
    name: 'ADD',
    line,
    endLine,
    source,
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
  if (raw.args.length === 0) throw new DockerfileError('ARG requires at least one argument', raw);
  const args = raw.args.map((word) => {
    const equals = word.indexOf('=');
    if (equals === 0) throw new DockerfileError('ARG names can not be blank', raw);
    return equals < 0 ? { key: word } : { key: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { name: 'ARG', line: raw.line, endLine: raw.endLine, source: raw.source, args };
}

function parseOnbuild(raw: RawInstruction): OnbuildInstruction {
  const { trigger } = raw;
  parseFlags(raw, {});
  if (trigger === undefined) throw new DockerfileError('ONBUILD requires at least one argument', raw);
  if (trigger.name === 'ONBUILD') {
    throw new DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", raw);
  }
  if (trigger.name === 'FROM' || trigger.name === 'MAINTAINER') {
    throw new DockerfileError(`${trigger.name} isn't allowed as an ONBUILD trigger`, raw);
  }
  let expression = raw.source.replace(/^\s*ONBUILD\s*/i, '');
  for (const doc of raw.heredocs) expression += `\n${doc.content}${doc.name}`;
  const { line, endLine, source } = raw;
  return { name: 'ONBUILD', line, endLine, source, expression, trigger };
}
