import type { ByteString } from '../../core/bytes.ts';
import { byteString, displayName } from '../../core/bytes.ts';
import { isImagoError } from '../../core/errors.ts';
import { formatPurl } from '../../oci/purl.ts';
import { lookup, resolvePath } from '../../tree/lookup.ts';
import type { TreeNode } from '../../tree/node.ts';
import { sortedChildren } from '../../tree/walk.ts';
import type { ImageFiles } from '../context/image-source.ts';
import { type Found, LARGEST_DOCUMENT, MOST_PACKAGES, readText, stanzas } from './found.ts';
import { languagePackages } from './language.ts';
import { readRpmDatabase } from './rpm.ts';

/** PURL's namespace and `distro`, from os-release(5). */
export interface Distribution {
  id: string;
  version: string;
}

/** Sorted by PURL. What is damaged is told in `unread`, never thrown: an image need not be in order. */
export async function findPackages(files: ImageFiles): Promise<Found> {
  const distribution = readDistribution(files);
  const found: Found = { packages: [], unread: [] };
  dpkgPackages(files, distribution, found);
  apkPackages(files, distribution, found);
  await rpmPackages(files, distribution, found);
  languagePackages(files, found);
  const whole = found.packages.filter(({ name, version }) => name !== '' && version !== '');
  const unique = new Map(whole.map((item) => [`${item.purl}\0${item.origin}`, item]));
  const packages = [...unique.values()].sort((a, b) => compare(a.purl, b.purl) || compare(a.origin, b.origin));
  return { packages, unread: found.unread };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function readDistribution(files: ImageFiles): Distribution {
  const text =
    readText(files, 'etc/os-release', LARGEST_DOCUMENT) ??
    readText(files, 'usr/lib/os-release', LARGEST_DOCUMENT) ??
    '';
  const value = (name: string): string => {
    const line = new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
    return line.replace(/^(["'])(.*)\1\s*$/, '$2').trim();
  };
  return { id: value('ID'), version: value('VERSION_ID') };
}

function distroOf({ id, version }: Distribution): string | undefined {
  if (id === '') return undefined;
  return version === '' ? id : `${id}-${version}`;
}

/** dpkg's status, and the pieces of it that distroless images have. */
function dpkgPackages(files: ImageFiles, distribution: Distribution, found: Found): void {
  const places: ByteString[] = [];
  if (lookup(files.tree, 'var/lib/dpkg/status')?.type === 'file') places.push('var/lib/dpkg/status');
  for (const directory of ['var/lib/dpkg/status.d', 'usr/lib/opkg/status.d']) {
    const node = lookup(files.tree, directory, { links: 'all' });
    if (node?.type !== 'directory') continue;
    for (const [name, child] of sortedChildren(node)) {
      if (child.type === 'file' && !name.endsWith('.md5sums')) places.push(`${directory}/${name}`);
    }
  }
  for (const origin of places) {
    const text = readText(files, origin);
    if (text === undefined) {
      found.unread.push(`${displayName(origin)}: too large, or no file`);
      continue;
    }
    for (const fields of stanzas(text)) {
      const [name, version] = [fields.get('package'), fields.get('version')];
      const status = fields.get('status');
      // Removed packages stay in the file with their configuration.
      if (name === undefined || version === undefined || (status !== undefined && !/ installed$/.test(status)))
        continue;
      const [, source, sourceVersion] = /^(\S+)(?: \((.*)\))?$/.exec(fields.get('source') ?? '') ?? [];
      const upstream =
        source === undefined ? undefined : sourceVersion === undefined ? source : `${source}@${sourceVersion}`;
      found.packages.push({
        name,
        version,
        purl: formatPurl({
          type: 'deb',
          namespace: distribution.id === '' ? 'debian' : distribution.id,
          name,
          version,
          qualifiers: { arch: fields.get('architecture'), distro: distroOf(distribution), upstream },
        }),
        license: debianLicense(files, name),
        supplier: fields.get('maintainer'),
        homepage: fields.get('homepage'),
        source: upstream,
        origin,
        kind: 'DPKG DB',
      });
      if (found.packages.length > MOST_PACKAGES) return;
    }
  }
}

/** Of a machine-readable copyright file (DEP 5): all short names in it. */
function debianLicense(files: ImageFiles, name: string): string[] | undefined {
  const text = readText(files, byteString(`usr/share/doc/${name}/copyright`), LARGEST_DOCUMENT);
  if (text === undefined || !/^Format:.*copyright-format/m.test(text.slice(0, 4096))) return undefined;
  const names = new Set<string>();
  for (const [, line] of text.matchAll(/^License:[ \t]*(\S[^\n]*)$/gm)) names.add(line!.trim());
  return [...names].sort();
}

/** Alpine's database: `P:name` and so on, an empty line after each (wiki.alpinelinux.org/wiki/Apk_spec). */
function apkPackages(files: ImageFiles, distribution: Distribution, found: Found): void {
  const origin = ['lib/apk/db/installed', 'usr/lib/apk/db/installed'].find(
    (path) => lookup(files.tree, path, { links: 'all' })?.type === 'file',
  );
  const text = origin === undefined ? undefined : readText(files, origin);
  if (origin === undefined || text === undefined) return;
  for (const block of text.split('\n\n')) {
    const value = (key: string): string | undefined => new RegExp(`^${key}:(.*)$`, 'm').exec(block)?.[1];
    const [name, version, source] = [value('P'), value('V'), value('o')];
    if (name === undefined || version === undefined) continue;
    const upstream = source === name ? undefined : source;
    found.packages.push({
      name,
      version,
      purl: formatPurl({
        type: 'apk',
        namespace: distribution.id === '' ? 'alpine' : distribution.id,
        name,
        version,
        qualifiers: { arch: value('A'), distro: distroOf(distribution), upstream },
      }),
      license: value('L'),
      supplier: value('m'),
      homepage: value('U'),
      source: upstream,
      origin,
      kind: 'APK DB',
    });
    if (found.packages.length > MOST_PACKAGES) return;
  }
}

const RPM_PLACES = ['var/lib/rpm', 'usr/lib/sysimage/rpm', 'usr/share/rpm'];

async function rpmPackages(files: ImageFiles, distribution: Distribution, found: Found): Promise<void> {
  const seen = new Set<TreeNode>();
  for (const directory of RPM_PLACES) {
    const at = resolvePath(files.tree, directory, { links: 'all' });
    if (at?.node.type !== 'directory') continue;
    const old = at.node.children!.get('Packages');
    if (old?.type === 'file' && old.size > 0)
      found.unread.push(`${directory}/Packages: an RPM database in the format Berkeley DB is not read`);
    // Where both are there, an rpm that writes the first left the other behind.
    const name = (['rpmdb.sqlite', 'Packages.db'] as const).find(
      (each) => at.node.children!.get(each)?.type === 'file',
    );
    const node = name === undefined ? undefined : at.node.children!.get(name);
    if (name === undefined || node === undefined || seen.has(node)) continue;
    seen.add(node);
    const origin = `${at.path}/${name}`;
    try {
      for (const rpm of await readRpmDatabase(name, files.node(node))) {
        const version = `${rpm.version}-${rpm.release}`;
        found.packages.push({
          name: rpm.name,
          version: rpm.epoch === undefined ? version : `${rpm.epoch}:${version}`,
          purl: formatPurl({
            type: 'rpm',
            namespace: distribution.id === '' ? 'redhat' : distribution.id,
            name: rpm.name,
            version,
            qualifiers: {
              arch: rpm.arch,
              epoch: rpm.epoch === undefined ? undefined : String(rpm.epoch),
              distro: distroOf(distribution),
              upstream: rpm.sourceRpm,
            },
          }),
          license: rpm.license,
          supplier: rpm.vendor,
          homepage: rpm.url,
          source: rpm.sourceRpm,
          origin,
          kind: 'RPM DB',
        });
      }
    } catch (error) {
      if (!isImagoError(error)) throw error;
      found.unread.push(`${displayName(origin)}: ${error.message}`);
    }
  }
}
