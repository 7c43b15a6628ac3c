import { displayName } from '../../core/bytes.ts';
import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Predicate } from '../../image/attestation.ts';
import { type Field, parseJson } from '../../oci/json.ts';
import type { Store } from '../../store/store.ts';
import { ImageFiles } from '../context/image-source.ts';
import { findSource, readSource, type SourceNode } from '../context/source.ts';
import { SCAN_DESTINATION } from './scan-plan.ts';

const SPDX = 'https://spdx.dev/Document';
/** BuildKit takes no larger ones (exporter/attestation/make.go). */
const LARGEST = 40 * 2 ** 20;
/** Levels of lists and objects: writing them takes as much of the stack. */
const DEEPEST = 500;

/**
 * The documents that a scanner wrote into a layer, that of the result itself first: statements of in-toto, one a file,
 * all of them SPDX. `layer`: null where it wrote nothing. Throws `BAD_SCAN`.
 */
export function readScan(store: Store, layer: Digest | null): Predicate[] {
  if (layer === null) return [];
  using files = new ImageFiles(store, [layer]);
  const directory = findSource(files.root, SCAN_DESTINATION, false);
  const found = [...(directory?.children() ?? [])].map(([name, node]) => readDocument(displayName(name), node));
  return found.sort((a, b) => Number(isCore(b)) - Number(isCore(a)) || (a.fileName < b.fileName ? -1 : 1));
}

function isCore({ fileName }: Predicate): boolean {
  return fileName.split('.')[0] === 'sbom';
}

function readDocument(fileName: string, node: SourceNode): Predicate {
  if (node.type !== 'file') throw badScan(fileName, 'it is no regular file');
  if (node.size > LARGEST) throw badScan(fileName, `it is larger than ${LARGEST} bytes`);
  const root = parseJson(readSource(node), 'BAD_SCAN', `the scanner's ${fileName}`, LARGEST);
  const type = root.get('predicateType').string();
  if (type !== SPDX) throw badScan(fileName, `its predicate is of another type, ${JSON.stringify(type.slice(0, 200))}`);
  const { value } = root.get('predicate');
  if (isDeep(value)) throw badScan(fileName, 'it is nested too deeply');
  const subjects = root.get('subject').list().map(readSubject);
  return { type, value, fileName, ...(subjects.length > 0 && { subjects }) };
}

function readSubject(field: Field): { name: string; digest: Record<string, string> } {
  const name = field.get('name');
  const digest = field.get('digest');
  const names = digest.present ? Object.keys(digest.object()) : [];
  return {
    name: (name.present ? name.string() : '') || '_',
    digest: Object.fromEntries(names.map((algorithm) => [algorithm, digest.get(algorithm).string()])),
  };
}

function isDeep(value: unknown): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) return true;
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
  }
  return false;
}

function badScan(fileName: string, problem: string): ImagoError {
  return new ImagoError('BAD_SCAN', `the scanner's ${fileName} is no SBOM: ${problem}`, {
    want: `statements of in-toto with the predicate ${SPDX}, as JSON`,
  });
}
