import { globSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

export const SRC: string = join(import.meta.dirname, '../src');

export interface Import {
  /** What is imported: 'node:fs', a package, or a path below src/. */
  target: string;
  line: number;
  typeOnly: boolean;
  /** `import('…')`: loaded when the code runs, not when the file is. */
  dynamic: boolean;
}

const STATIC = /^(?:import|export)\s(?:(?<names>[^'";]*?)\sfrom\s)?\s*['"](?<target>[^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"](?<target>[^'"]+)['"]/g;
const REQUIRED = /\b(?:require|getBuiltinModule)\(\s*['"](?<target>[^'"]+)['"]/g;

/** Every file below src/ with what it imports, by the text: what the code says, before any bundling. */
export function readImports(): Map<string, Import[]> {
  const graph = new Map<string, Import[]>();
  for (const file of globSync('**/*.ts', { cwd: SRC }).sort()) {
    const source = blankComments(readFileSync(join(SRC, file), 'utf8'));
    const imports: Import[] = [];
    const add = (match: RegExpExecArray, dynamic: boolean, typeOnly: boolean) => {
      const target = match.groups!.target!;
      imports.push({
        target: target.startsWith('.') ? posix.join(dirname(file), target) : target,
        line: source.slice(0, match.index).split('\n').length,
        typeOnly,
        dynamic,
      });
    };
    for (const match of source.matchAll(STATIC)) add(match, false, isTypeOnly(match));
    for (const match of source.matchAll(DYNAMIC)) add(match, true, isTypeQuery(source, match.index));
    for (const match of source.matchAll(REQUIRED)) add(match, true, false);
    graph.set(file, imports);
  }
  return graph;
}

/** `import type …`, or braces that hold nothing but types: erased with verbatimModuleSyntax only in the first form. */
function isTypeOnly(match: RegExpExecArray): boolean {
  return /^(?:import|export)\s+type\s/.test(match[0]);
}

/** `typeof import('…')` and `import('…').Name` in a type. */
function isTypeQuery(source: string, index: number): boolean {
  return /typeof\s+$/.test(source.slice(Math.max(0, index - 20), index));
}

/** Comments become spaces (lines stay), so that an example in a comment is no import. */
function blankComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ' '));
}

/** The files that `from` loads when it is loaded, each with the chain of files that leads to it. */
export function reachable(graph: Map<string, Import[]>, from: string): Map<string, string[]> {
  const chains = new Map<string, string[]>([[from, [from]]]);
  const queue = [from];
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    for (const { target, dynamic, typeOnly } of graph.get(file) ?? []) {
      if (dynamic || typeOnly || chains.has(target)) continue;
      chains.set(target, [...chains.get(file)!, target]);
      queue.push(target);
    }
  }
  return chains;
}
