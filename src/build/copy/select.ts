import { type ByteString, byteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import { nearest } from '../../core/suggest.ts';
import { BadPattern, compileGlob, hasWildcard, unescapeGlob } from '../../formats/dockerfile/glob.ts';
import { IgnoreMatcher, type MatchState } from '../../formats/dockerfile/ignore.ts';
import { cleanSlashes } from '../../formats/dockerfile/path.ts';
import { findSource, type SourceNode } from '../context/source.ts';
import { textOf } from '../text.ts';

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
  /** A directory that is there only because something below it is. */
  readonly implied?: boolean;
}

export interface SelectOptions {
  /** Where the sources are from, for errors: 'the build context', "stage 'build'". */
  place: string;
  /** `--exclude` */
  exclude?: IgnoreMatcher;
  /** What to take of a directory; all of it where undefined. `literal`: what every match begins with. */
  include?: { matcher: IgnoreMatcher; literal: string };
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
  if (base === undefined) throw notFound(root, plain.join('/'), options.place);
  if (wild < 0) {
    return [expandNode(plain.at(-1) ?? '', base, options)];
  }
  const found: ByteString[] = [];
  matchNames(base, compileParts(parts.slice(wild), operand), 0, '', found);
  const selected: Selected[] = [];
  for (const path of found) {
    const full = [...plain, path].join('/');
    const node = findSource(root, full, true);
    if (node === undefined) throw notFound(root, full, options.place);
    selected.push(expandNode(path.slice(path.lastIndexOf('/') + 1), node, options));
  }
  return selected;
}

/**
 * An operand of COPY --parents: what stands before its first `/./` (the root, where there is none) is the directory
 * that paths are kept from, and what follows is a pattern as in .dockerignore, not followed through symlinks. Without a
 * wildcard the path must exist. Throws `COPY_SOURCE_NOT_FOUND`, `BAD_PATTERN`.
 */
export function selectParents(root: SourceNode, operand: string, options: SelectOptions): Selected[] {
  const pivot = operand.indexOf('/./');
  const base = pivot < 0 ? '/' : operand.slice(0, pivot);
  const pattern = cleanSlashes(`/${pivot < 0 ? operand : operand.slice(pivot + 3)}`).slice(1);
  if (!hasWildcard(base) && !hasWildcard(pattern)) {
    const path = byteString(unescapeGlob(cleanSlashes(`/${base}/${pattern}`).slice(1)));
    if (findSource(root, path, true) === undefined) throw notFound(root, path, options.place);
  }
  if (pattern === '') return selectSources(root, base, options);
  const wild = pattern.search(/[*?[\\!]/);
  const include = { matcher: new IgnoreMatcher([pattern]), literal: wild < 0 ? pattern : pattern.slice(0, wild) };
  return selectSources(root, base, { ...options, include });
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

/** A node with what is to be copied of what is below it. */
export function expandNode(
  name: ByteString,
  node: SourceNode,
  { include, exclude }: Pick<SelectOptions, 'include' | 'exclude'>,
): Selected {
  const below: SelectedFile[] = [];
  if (node.type === 'directory') {
    if (include === undefined && (exclude === undefined || exclude.empty)) walk(node, '', below);
    else walkFiltered(node, '', {}, { include, exclude }, below);
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

/** A directory that is not taken itself comes along where something in it is. */
function walkFiltered(
  node: SourceNode,
  path: ByteString,
  above: { include?: MatchState; exclude?: MatchState },
  filters: Pick<SelectOptions, 'include' | 'exclude'>,
  out: SelectedFile[],
): void {
  const { include, exclude } = filters;
  for (const [name, child] of node.children()) {
    const here = path === '' ? name : `${path}/${name}`;
    const text = textOf(here);
    const included = include?.matcher.match(text, above.include);
    const excluded = exclude?.match(text, above.exclude);
    const implied = included?.ignored === false || excluded?.ignored === true;
    if (implied && child.type !== 'directory') continue;
    if (excluded?.ignored && !exclude!.mayReinclude(text)) continue;
    if (included?.ignored === false && !mayHold(text, include!.literal)) continue;
    const at = out.length;
    out.push(implied ? { path: here, node: child, implied } : { path: here, node: child });
    if (child.type !== 'directory') continue;
    walkFiltered(child, here, { include: included?.state, exclude: excluded?.state }, filters, out);
    if (implied && out.length === at + 1) out.pop();
  }
}

function mayHold(directory: string, literal: string): boolean {
  const inside = `${directory}/`;
  return literal.startsWith(inside) || inside.startsWith(literal);
}

/** BuildKit's words, and the nearest name that there is. */
function notFound(root: SourceNode, path: ByteString, place: string): ImagoError {
  const link = brokenLink(root, path);
  if (link !== undefined) {
    const [name, target] = [link.path, link.target].map(displayName);
    return new ImagoError('COPY_SOURCE_NOT_FOUND', `"/${name}" is a symlink to "${target}", not found in ${place}`, {
      remedy: 'copy the directory that it is in, to copy it as a link',
    });
  }
  const near = nearestPath(root, path);
  const hint =
    place === 'the build context' ? 'check the path, which is relative to the context, and .dockerignore' : undefined;
  return new ImagoError('COPY_SOURCE_NOT_FOUND', `"/${displayName(path)}": not found in ${place}`, {
    remedy: near === undefined ? hint : `did you mean "/${displayName(near)}"?`,
  });
}

/** The first link on the way that leads nowhere, or round in a circle. */
function brokenLink(root: SourceNode, path: ByteString): { path: ByteString; target: ByteString } | undefined {
  const parts = path.split('/');
  for (let count = 1; count <= parts.length; count++) {
    const here = parts.slice(0, count).join('/');
    const node = findSource(root, here, false);
    if (node?.type !== 'symlink' || findSource(root, here, true) !== undefined) continue;
    return { path: here, target: node.linkname };
  }
  return undefined;
}

/** The path with the first of its names that is missing replaced by the most similar one beside it. */
function nearestPath(root: SourceNode, path: ByteString): ByteString | undefined {
  const parts = path.split('/');
  for (let i = 0; i < parts.length; i++) {
    const directory = findSource(root, parts.slice(0, i).join('/'), true);
    if (directory?.type !== 'directory') return undefined;
    if (directory.children().has(parts[i]!)) continue;
    const near = nearest(parts[i]!, directory.children().keys());
    if (near === undefined) return undefined;
    const replaced = [...parts.slice(0, i), near];
    const whole = [...replaced, ...parts.slice(i + 1)].join('/');
    return findSource(root, whole, true) === undefined ? replaced.join('/') : whole;
  }
  return undefined;
}
