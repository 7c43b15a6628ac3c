import type { ByteString } from '../../core/bytes.ts';
import { formatPurl } from '../../oci/purl.ts';
import type { TreeNode } from '../../tree/node.ts';
import { walkTree } from '../../tree/walk.ts';
import type { ImageFiles } from '../context/image-source.ts';
import { type Found, type FoundPackage, LARGEST_DOCUMENT, MOST_PACKAGES, stanzas, textOf } from './found.ts';

/** npm's package.json in a node_modules, and METADATA and PKG-INFO of Python's installers. */
export function languagePackages(files: ImageFiles, found: Found): void {
  walkTree(files.tree, (path, node) => {
    if (found.packages.length > MOST_PACKAGES) return false;
    if (node.type !== 'file') return true;
    const item = /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@.][^/]*\/package\.json$/.test(path)
      ? npmPackage(files, node, path)
      : /\.(?:dist|egg)-info\/(?:METADATA|PKG-INFO)$|\.egg-info$/.test(path)
        ? pythonPackage(files, node, path)
        : undefined;
    if (item !== undefined) found.packages.push(item);
    return true;
  });
}

function npmPackage(files: ImageFiles, node: TreeNode, origin: ByteString): FoundPackage | undefined {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(textOf(files, node, LARGEST_DOCUMENT) ?? '') as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const { name, version, license, licenses, homepage } = value ?? {};
  if (typeof name !== 'string' || typeof version !== 'string' || name === '' || version === '') return undefined;
  const slash = name.startsWith('@') ? name.indexOf('/') : -1;
  return {
    name,
    version,
    purl: formatPurl({
      type: 'npm',
      namespace: slash < 0 ? undefined : name.slice(0, slash),
      name: name.slice(slash + 1),
      version,
    }),
    license: npmLicense(license ?? licenses),
    homepage: typeof homepage === 'string' ? homepage : undefined,
    origin,
    kind: 'package.json',
  };
}

/** Old packages have an object, or a list of them. */
function npmLicense(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const types = (Array.isArray(value) ? value : [value]).map(
    (item) => (item as { type?: unknown } | null | undefined)?.type,
  );
  const words = types.filter((type): type is string => typeof type === 'string' && type !== '');
  return words.length === 0 ? undefined : words.join(' OR ');
}

function pythonPackage(files: ImageFiles, node: TreeNode, origin: ByteString): FoundPackage | undefined {
  const text = textOf(files, node, LARGEST_DOCUMENT);
  const fields = text === undefined ? undefined : stanzas(text).next().value;
  const [name, version] = [fields?.get('name'), fields?.get('version')];
  if (fields === undefined || name === undefined || version === undefined) return undefined;
  const license = fields.get('license-expression') ?? fields.get('license');
  return {
    name,
    version,
    purl: formatPurl({ type: 'pypi', name: name.toLowerCase().replaceAll('_', '-'), version }),
    // Some have the whole text of their licence there.
    license:
      license === undefined || license.includes('\n') || license.length > 200 || license === 'UNKNOWN'
        ? undefined
        : license,
    supplier: fields.get('author'),
    homepage: fields.get('home-page'),
    origin,
    kind: 'Python metadata',
  };
}
