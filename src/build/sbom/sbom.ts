import { createHash, hash } from 'node:crypto';
import { type ByteString, displayName } from '../../core/bytes.ts';
import type { Predicate } from '../../image/attestation.ts';
import type { ImageDraft } from '../../image/draft.ts';
import { encodeJson } from '../../oci/json.ts';
import type { Store } from '../../store/store.ts';
import { imagoVersion } from '../../system/version.ts';
import { lookup } from '../../tree/lookup.ts';
import { ImageFiles } from '../context/image-source.ts';
import type { FoundPackage } from './found.ts';
import { licenseExpression } from './licenses.ts';
import { findPackages, readDistribution } from './packages.ts';

const NOT_KNOWN = 'NOASSERTION';
const PIECE = 1 << 20;

interface SpdxItem {
  SPDXID: string;
  [member: string]: unknown;
}

export interface SbomOptions {
  /** Of the document; the same image and time give the same bytes. */
  created: Date;
  /** Of the image, for people. */
  name: string;
  note?: (text: string) => void;
}

/** An SPDX 2.3 document (spdx.github.io/spdx-spec/v2.3) of what the package databases in the layers tell. */
export async function composeSbom(store: Store, draft: ImageDraft, options: SbomOptions): Promise<Predicate> {
  using files = new ImageFiles(
    store,
    draft.layers.map(({ diffId }) => diffId),
  );
  const { packages, unread } = await findPackages(files);
  for (const text of unread) options.note?.(`SBOM: ${text}`);
  const { id, version } = readDistribution(files);
  const licenses = new Map<string, string>();
  const items = packages.map((item, i) => packageItem(item, i, licenses));
  const origins = [...new Set(packages.map(({ origin }) => origin))].sort();
  const fileItems = origins.map((origin) => fileItem(files, draft, origin));
  const byOrigin = new Map(origins.map((origin, i) => [origin, fileItems[i]!.SPDXID]));
  const root = rootItem(options.name, draft, `${id} ${version}`.trim());
  const document = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: options.name,
    creationInfo: {
      created: options.created.toISOString().replace(/\.\d+Z$/, 'Z'),
      creators: [`Tool: imago-${imagoVersion()}`],
      ...(unread.length === 0 ? {} : { comment: `Not read: ${unread.join('; ')}` }),
    },
    packages: [root, ...items],
    ...(fileItems.length === 0 ? {} : { files: fileItems }),
    ...(licenses.size === 0 ? {} : { hasExtractedLicensingInfos: extracted(licenses) }),
    relationships: [
      relation('SPDXRef-DOCUMENT', 'DESCRIBES', root.SPDXID),
      ...items.map(({ SPDXID }) => relation(root.SPDXID, 'CONTAINS', SPDXID)),
      ...packages.map(({ origin, kind }, i) => ({
        ...relation(items[i]!.SPDXID, 'OTHER', byOrigin.get(origin)!),
        comment: `evident-by: ${kind}`,
      })),
    ],
  };
  // From what it says: another document has another name, the same has the same everywhere.
  const digest = hash('sha256', encodeJson(document), 'hex');
  const documentNamespace = `https://spdx.org/spdxdocs/imago-${uuidOf(digest)}`;
  return { type: 'https://spdx.dev/Document', value: { ...document, documentNamespace }, fileName: 'sbom.spdx.json' };
}

function rootItem(name: string, draft: ImageDraft, system: string): SpdxItem {
  const { digest } = draft.layers.at(-1)?.descriptor ?? {};
  return {
    SPDXID: 'SPDXRef-Image',
    name,
    versionInfo: digest,
    downloadLocation: NOT_KNOWN,
    filesAnalyzed: false,
    licenseConcluded: NOT_KNOWN,
    licenseDeclared: NOT_KNOWN,
    copyrightText: NOT_KNOWN,
    primaryPackagePurpose: 'CONTAINER',
    ...(system === '' ? {} : { comment: system }),
  };
}

function packageItem(item: FoundPackage, index: number, licenses: Map<string, string>): SpdxItem {
  const { name, version, purl, supplier, homepage, source, origin, kind } = item;
  return {
    SPDXID: `SPDXRef-Package-${index + 1}-${idPart(name)}`,
    name,
    versionInfo: version,
    downloadLocation: NOT_KNOWN,
    filesAnalyzed: false,
    supplier:
      supplier === undefined ? NOT_KNOWN : `${/@/.test(supplier) ? 'Person' : 'Organization'}: ${party(supplier)}`,
    ...(homepage === undefined || !URL.canParse(homepage) ? {} : { homepage }),
    licenseConcluded: NOT_KNOWN,
    licenseDeclared: licenseExpression(item.license, licenses),
    copyrightText: NOT_KNOWN,
    sourceInfo: `acquired package info from ${kind}: /${displayName(origin)}${source === undefined ? '' : `; built from ${source}`}`,
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }],
  };
}

/** SPDX 2.3 §7.5: the address in parentheses. */
function party(text: string): string {
  const line = text.split('\n')[0]!.trim();
  const [, name, address] = /^(.*?)\s*<([^<>]*)>$/.exec(line) ?? [];
  return address === undefined ? line : `${name || address} (${address})`;
}

/** The layer that a file is seen from is told as BuildKit does: in a comment. */
function fileItem(files: ImageFiles, draft: ImageDraft, origin: ByteString): SpdxItem {
  const node = lookup(files.tree, origin, { links: 'all' })!;
  const [sha1, sha256] = [createHash('sha1'), createHash('sha256')];
  const reader = files.node(node).open();
  try {
    const buffer = Buffer.allocUnsafe(PIECE);
    for (let done = 0; done < node.size; ) {
      const got = reader.read(buffer, 0, Math.min(PIECE, node.size - done), done);
      if (got === 0) break;
      sha1.update(buffer.subarray(0, got));
      sha256.update(buffer.subarray(0, got));
      done += got;
    }
  } finally {
    reader.close();
  }
  const layer = draft.layers[node.layer]?.descriptor.digest;
  return {
    SPDXID: `SPDXRef-File-${hash('sha256', origin, 'hex').slice(0, 16)}`,
    fileName: `./${displayName(origin)}`,
    licenseConcluded: NOT_KNOWN,
    licenseInfoInFiles: [NOT_KNOWN],
    copyrightText: NOT_KNOWN,
    checksums: [
      { algorithm: 'SHA1', checksumValue: sha1.digest('hex') },
      { algorithm: 'SHA256', checksumValue: sha256.digest('hex') },
    ],
    ...(layer === undefined ? {} : { comment: `layerID: ${layer}` }),
  };
}

function extracted(licenses: ReadonlyMap<string, string>): unknown[] {
  return [...licenses]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([licenseId, extractedText]) => ({ licenseId, extractedText, name: extractedText.slice(0, 100) }));
}

function relation(spdxElementId: string, relationshipType: string, relatedSpdxElement: string): object {
  return { spdxElementId, relationshipType, relatedSpdxElement };
}

/** SPDX 2.3 §7.2: letters, digits, dots and hyphens. */
function idPart(name: string): string {
  return name.replace(/[^A-Za-z0-9.-]/g, '-').slice(0, 60);
}

/** RFC 9562 §5.8: version 8, bits of our own. */
function uuidOf(hex: string): string {
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
