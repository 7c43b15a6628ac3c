import { type ByteString, byteString, displayName } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import { BadPattern, compileGlob, hasWildcard, unescapeGlob } from '../formats/dockerfile/glob.ts';
import type { IgnoreMatcher, MatchState } from '../formats/dockerfile/ignore.ts';
import { cleanSlashes } from '../formats/dockerfile/path.ts';
import { findSource, type SourceNode } from './source.ts';
import { textOf } from './text.ts';

/** One thing that an operand of COPY or ADD names, symlinks followed. */
export interface Selected {
  /** Its last name as the operand has it, which is what it is called in a destination directory; '' for the root. */
  readonly name: ByteString;
  readonly node: SourceNode;
  /** What is below it, parents first, siblings sorted; paths relative to it. Empty for all but directories. */
  readonly below: SelectedFile[];
}

export interface SelectedFile {
  readonly path: ByteString;
  readonly node: SourceNode;
}

export interface SelectOptions {
  /** Where the sources are from, for errors: 'the build context', "stage 'build'". */
  place: string;
  /** `--exclude` */
  exclude?: IgnoreMatcher;
}

/**
 * Resolves an operand as BuildKit does: cleaned against the root, symlinks followed within it, wildcards as Go's
 * filepath.Match with no match being no error; a plain name must exist. Throws `COPY_SOURCE_NOT_FOUND`.
 */
export function selectSources(root: SourceNode, operand: string, options: SelectOptions): Selected[] {
  const pattern = cleanSlashes(`/${operand}`).slice(1);
  const parts = pattern === '' ? [] : pattern.split('/');
  const wild = parts.findIndex(hasWildcard);
  const plain = (wild < 0 ? parts : parts.slice(0, wild)).map((part) => byteString(unescapeGlob(part)));
  const base = findSource(root, plain.join('/'), true);
  if (wild < 0) {
    if (base === undefined) throw notFound(operand, options.place);
    return [expand(plain.at(-1) ?? '', base, options.exclude)];
  }
  if (base === undefined) throw notFound(operand, options.place);
  const found: ByteString[] = [];
  matchNames(base, compileParts(parts.slice(wild), operand), 0, '', found);
  const selected: Selected[] = [];
  for (const path of found) {
    const node = findSource(root, [...plain, path].join('/'), true);
    if (node === undefined) throw notFound(displayName(path), options.place);
    selected.push(expand(path.slice(path.lastIndexOf('/') + 1), node, options.exclude));
  }
  return selected;
}

function compileParts(parts: string[], operand: string): RegExp[] {
  try {
    return parts.map(compileGlob);
  } catch (error) {
    if (!(error instanceof BadPattern)) throw error;
    throw new ImagoError('BAD_PATTERN', `source ${JSON.stringify(operand)}: ${error.message}`);
  }
}

/** Symlinks on the way are not followed: only real directories match further. */
function matchNames(node: SourceNode, parts: RegExp[], depth: number, path: ByteString, found: ByteString[]): void {
  if (node.type !== 'directory') return;
  for (const [name, child] of node.children()) {
    if (!parts[depth]!.test(textOf(name))) continue;
    const here = path === '' ? name : `${path}/${name}`;
    if (depth + 1 === parts.length) found.push(here);
    else matchNames(child, parts, depth + 1, here, found);
  }
}

function expand(name: ByteString, node: SourceNode, exclude: IgnoreMatcher | undefined): Selected {
  const below: SelectedFile[] = [];
  if (node.type === 'directory') {
    if (exclude === undefined || exclude.empty) walk(node, '', below);
    else walkFiltered(node, '', undefined, exclude, below);
  }
  return { name, node, below };
}

function walk(node: SourceNode, path: ByteString, out: SelectedFile[]): void {
  for (const [name, child] of node.children()) {
    const here = path === '' ? name : `${path}/${name}`;
    out.push({ path: here, node: child });
    if (child.type === 'directory') walk(child, here, out);
  }
}

/** An excluded directory comes along where something in it is taken back. */
function walkFiltered(
  node: SourceNode,
  path: ByteString,
  above: MatchState | undefined,
  exclude: IgnoreMatcher,
  out: SelectedFile[],
): void {
  for (const [name, child] of node.children()) {
    const here = path === '' ? name : `${path}/${name}`;
    const text = textOf(here);
    const { ignored, state } = exclude.match(text, above);
    if (ignored && (child.type !== 'directory' || !exclude.mayReinclude(text))) continue;
    const at = out.length;
    out.push({ path: here, node: child });
    if (child.type !== 'directory') continue;
    walkFiltered(child, here, state, exclude, out);
    if (ignored && out.length === at + 1) out.pop();
  }
}

function notFound(operand: string, place: string): ImagoError {
  const hint =
    place === 'the build context' ? 'check the path, which is relative to the context, and .dockerignore' : undefined;
  return new ImagoError('COPY_SOURCE_NOT_FOUND', `${JSON.stringify(operand)} not found in ${place}`, { remedy: hint });
}
