import type { Command, OptionSpec } from './command.ts';
import { type RegistryEntry, registry } from './registry.ts';

const WIDTH = 80;

/** The flags that stand before the command. */
export const GLOBAL_OPTIONS: Record<string, OptionSpec> = {
  root: { type: 'string', value: 'dir', help: 'Where images and containers are kept' },
  run: { type: 'string', value: 'dir', help: 'Where sockets and mounts are kept', hidden: true },
  debug: { type: 'boolean', short: 'D', help: 'Print the stack of an error' },
  version: { type: 'boolean', short: 'v', help: 'Print the version' },
};

/** `imago --help`: the common commands one a line, the rest by their first word, within a screen of 24 lines. */
export function formatTopHelp(): string {
  const entries = Object.entries(registry);
  const common = entries.filter(([, entry]) => entry.group === 'common');
  const names = (group: RegistryEntry['group']) => [
    ...new Set(entries.filter(([, e]) => e.group === group).map(([name]) => name.split(' ')[0]!)),
  ];
  const width = Math.max(0, ...common.map(([name]) => name.length)) + 3;
  return [
    'Usage:  imago [OPTIONS] COMMAND',
    '',
    ...common.map(([name, entry]) => `  ${name.padEnd(width)}${entry.summary}`),
    '',
    ...formatNames('Containers', names('containers')),
    ...formatNames('Images', names('images')),
    ...formatNames('Registries', names('registries')),
    ...formatNames('System', names('system')),
    '',
    ...formatOptions(GLOBAL_OPTIONS),
    '',
    "Run 'imago COMMAND --help' for more information on a command.",
    '',
  ].join('\n');
}

/** `imago system`: the commands under one word. */
export function formatGroupHelp(group: string, members: readonly [name: string, summary: string][]): string {
  const width = Math.max(...members.map(([name]) => name.length)) + 3;
  const lines = members.map(([name, summary]) => `  ${name.padEnd(width)}${summary}`);
  const hint = `Run 'imago ${group} COMMAND --help' for more information on a command.`;
  return ['', `Usage:  imago ${group} COMMAND`, '', 'Commands:', ...lines, '', hint, ''].join('\n');
}

/** `imago COMMAND --help`. */
export function formatCommandHelp(command: Command, aliases: readonly string[] = []): string {
  const parts = ['', `Usage:  imago ${command.name} ${command.usage}`.trimEnd(), '', ...wrap(command.summary, WIDTH)];
  if (command.description !== undefined) {
    for (const paragraph of command.description.split('\n')) parts.push(...wrap(paragraph, WIDTH));
  }
  if (aliases.length > 0) {
    parts.push('', ...wrap(`Aliases: ${aliases.map((name) => `imago ${name}`).join(', ')}`, WIDTH));
  }
  const options = formatOptions(command.options);
  if (options.length > 0) parts.push('', 'Options:', ...options);
  return `${parts.join('\n')}\n`;
}

function formatNames(title: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const label = `${title}:`.padEnd(13);
  return wrap(names.join(', '), WIDTH - label.length).map((line, i) => (i === 0 ? label : ' '.repeat(13)) + line);
}

function formatOptions(options: Record<string, OptionSpec>): string[] {
  const shown = Object.entries(options).filter(([, spec]) => !spec.hidden);
  const heads = shown.map(([name, spec]) => {
    const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
    return `  ${short}--${name}${valueName(spec)}`;
  });
  const column = Math.max(0, ...heads.map((head) => head.length)) + 3;
  return shown.flatMap(([, spec], i) =>
    wrap(spec.help, Math.max(30, WIDTH - column)).map((line, j) => (j === 0 ? heads[i]! : '').padEnd(column) + line),
  );
}

function valueName(spec: OptionSpec): string {
  if (spec.type === 'boolean') return '';
  return ` ${spec.value ?? (spec.multiple ? 'list' : 'string')}`;
}

/** Breaks at spaces; a longer word keeps a line of its own. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}
