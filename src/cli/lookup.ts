import { nearest } from '../core/suggest.ts';
import { type RegistryEntry, registry } from './registry.ts';

export interface FoundCommand {
  name: string;
  entry: RegistryEntry;
  /** The words after the command's own. */
  rest: readonly string[];
}

/** Finds the command that the words begin with: its name, one of its aliases, or two words of a group. */
export function findCommand(words: readonly string[]): FoundCommand | undefined {
  for (const count of [2, 1]) {
    if (words.length < count) continue;
    const name = words.slice(0, count).join(' ');
    const found = Object.hasOwn(registry, name) ? name : aliasTargets().get(name);
    if (found !== undefined) return { name: found, entry: registry[found]!, rest: words.slice(count) };
  }
  return undefined;
}

/** The commands under a first word that is none itself (`system`, `image`): second word and summary. */
export function listGroup(group: string): [name: string, summary: string][] {
  const members: [string, string][] = [];
  for (const [name, entry] of Object.entries(registry)) {
    if (entry.group === 'hidden') continue;
    for (const spelled of [name, ...(entry.aliases ?? [])]) {
      if (!spelled.startsWith(`${group} `)) continue;
      members.push([spelled.slice(group.length + 1), entry.summary]);
      break;
    }
  }
  return members;
}

/** Every first word that can be typed, hidden commands left out. */
export function firstWords(): string[] {
  const words = new Set<string>();
  for (const [name, entry] of Object.entries(registry)) {
    if (entry.group === 'hidden') continue;
    for (const spelled of [name, ...(entry.aliases ?? [])]) words.add(spelled.split(' ')[0]!);
  }
  return [...words];
}

/** The command or group that a misspelt word most likely means. */
export function suggestCommand(word: string): string | undefined {
  return nearest(word, [...firstWords(), 'help']);
}

let targets: Map<string, string> | undefined;
function aliasTargets(): Map<string, string> {
  if (targets === undefined) {
    targets = new Map();
    for (const [name, entry] of Object.entries(registry)) {
      for (const alias of entry.aliases ?? []) targets.set(alias, name);
    }
  }
  return targets;
}
