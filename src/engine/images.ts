import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { type DamagedImage, type ListedImage, listImages } from '../image/list.ts';
import { resolveImage } from '../image/resolve.ts';
import { imageSizes } from '../image/sizes.ts';
import { shownReferences } from '../image/tags.ts';
import { familiarName, formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { compileReferencePattern } from '../oci/reference-pattern.ts';
import type { Store } from '../store/store.ts';

/** One line of `images`: an image by one of its names. */
export interface ImageRow {
  /** Short form; undefined for an untagged image. */
  repository: string | undefined;
  tag: string | undefined;
  /** Of what the name stands for: the manifest, or the index. */
  digest: Digest;
  id: Digest;
  /** RFC 3339. */
  created: string | undefined;
  /** Bytes. */
  size: number;
  /** Among all images in the store. */
  sharedSize: number;
  uniqueSize: number;
  labels: Record<string, string>;
}

export interface ListRowsOptions {
  /** Of an index, all platforms. */
  all?: boolean;
  /** A name or a pattern, with or without tag. */
  match?: string;
  /** Docker's: dangling=, label=, before=, since=, until=, reference=. Several of one kind: any; of several kinds: all. */
  filters?: readonly string[];
  onDamaged?: (damaged: DamagedImage) => void;
}

/** Lines of `images`, newest first, then by name. Throws `BAD_FILTER`, `BAD_PATTERN`, and what resolving a name throws. */
export function listImageRows(store: Store, options: ListRowsOptions = {}): ImageRow[] {
  const listed = listImages(store, { allPlatforms: options.all ?? false, onDamaged: options.onDamaged });
  const filters = parseFilters(options.filters ?? []);
  if (options.match !== undefined) addFilter(filters, 'reference', options.match);
  const keep = imageFilter(store, filters);
  const patterns = filters.get('reference')?.map(compileReferencePattern);
  const dangling = readBoolean(filters.get('dangling'));
  const sizes = imageSizes(
    store,
    listed.map(({ image }) => image),
  );
  const rows: ImageRow[] = [];
  for (const item of listed) {
    const names = shownReferences(item.references).map((reference) => parseReference(reference, { defaultTag: false }));
    if (dangling !== undefined && dangling !== !names.some((name) => name.tag !== undefined)) continue;
    if (!keep(item)) continue;
    const matching = patterns === undefined ? names : names.filter((name) => patterns.some((match) => match(name)));
    if (patterns !== undefined && matching.length === 0) continue;
    const { size, shared, unique } = sizes.get(item.image.id)!;
    for (const name of names.length === 0 ? [undefined] : matching) {
      rows.push({ ...rowOf(item, name), size, sharedSize: shared, uniqueSize: unique });
    }
  }
  return rows.sort((a, b) => timeOf(b.created) - timeOf(a.created) || compareNames(a, b));
}

type SizelessRow = Omit<ImageRow, 'size' | 'sharedSize' | 'uniqueSize'>;

function rowOf({ image, targets }: ListedImage, name: Reference | undefined): SizelessRow {
  const target = name && targets.get(formatReference(name));
  return {
    repository: name && familiarName(name),
    tag: name?.tag,
    digest: target ?? image.target.digest,
    id: image.id,
    created: image.config.created,
    labels: image.config.config?.Labels ?? {},
  };
}

function compareNames(a: ImageRow, b: ImageRow): number {
  const [x, y] = [`${a.repository ?? '~'}:${a.tag ?? '~'}`, `${b.repository ?? '~'}:${b.tag ?? '~'}`];
  return x < y ? -1 : x > y ? 1 : 0;
}

function timeOf(created: string | undefined): number {
  const at = created === undefined ? 0 : Date.parse(created);
  return Number.isNaN(at) ? 0 : at;
}

const FILTERS = ['dangling', 'label', 'before', 'since', 'until', 'reference'];

function parseFilters(filters: readonly string[]): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const filter of filters) {
    const at = filter.indexOf('=');
    const name = filter.slice(0, Math.max(0, at)).trim().toLowerCase();
    if (at < 0) {
      throw new ImagoError('BAD_FILTER', 'invalid filter', { want: 'name=value', got: JSON.stringify(filter) });
    }
    if (!FILTERS.includes(name)) {
      throw new ImagoError('BAD_FILTER', `invalid filter '${name}'`, { want: `one of ${FILTERS.join(', ')}` });
    }
    addFilter(out, name, filter.slice(at + 1).trim());
  }
  return out;
}

function addFilter(filters: Map<string, string[]>, name: string, value: string): void {
  filters.set(name, [...(filters.get(name) ?? []), value]);
}

function readBoolean(values: string[] | undefined): boolean | undefined {
  const value = values?.at(-1)?.toLowerCase();
  if (value === undefined) return undefined;
  if (['1', 't', 'true'].includes(value)) return true;
  if (['0', 'f', 'false'].includes(value)) return false;
  throw new ImagoError('BAD_FILTER', "invalid filter 'dangling'", { want: 'true or false', got: value });
}

/** The filters that look at the image and not at its names. */
function imageFilter(store: Store, filters: Map<string, string[]>): (item: ListedImage) => boolean {
  const before = filters.get('before')?.map((name) => timeOf(resolveImage(store, name).config.created));
  const since = filters.get('since')?.map((name) => timeOf(resolveImage(store, name).config.created));
  const until = filters.get('until')?.map(parseMoment);
  const labels = filters.get('label');
  return ({ image }) => {
    const created = timeOf(image.config.created);
    if (before !== undefined && !before.some((time) => created < time)) return false;
    if (since !== undefined && !since.some((time) => created > time)) return false;
    if (until !== undefined && !until.every((time) => created < time)) return false;
    return labels === undefined || labels.every((label) => hasLabel(image.config.config?.Labels ?? {}, label));
  };
}

function hasLabel(labels: Record<string, string>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  if (at < 0) return Object.hasOwn(labels, wanted);
  return Object.hasOwn(labels, wanted.slice(0, at)) && labels[wanted.slice(0, at)] === wanted.slice(at + 1);
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A time (RFC 3339, a date, seconds since 1970) or a span back from now (Go's "24h", "1h30m"), in milliseconds. */
function parseMoment(text: string): number {
  if (/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) {
    let span = 0;
    for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) span += Number(number) * UNITS[unit!]!;
    return Date.now() - span;
  }
  const time = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new ImagoError('BAD_FILTER', "invalid filter 'until'", { want: 'a time or a span such as 24h', got: text });
}
