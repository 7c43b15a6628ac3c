import type { Digest } from '../core/digest.ts';
import { type NamedByDocument, readDocument } from './document.ts';
import { hasLayer } from './layers.ts';
import type { RefRecord } from './refs.ts';
import type { Store } from './store.ts';

export type BlobKind = 'index' | 'manifest' | 'config' | 'layer tar' | 'compressed layer' | 'blob';

/** What a blob is to the images that have it. */
export interface Belonging {
  kind: BlobKind;
  references: Set<string>;
}

/** Something that an image cannot do without, and that is not here. */
export interface MissingPart {
  digest: Digest;
  kind: BlobKind;
  reference: string;
}

/** Everything that references reach, with what it is and whose; and what they should reach but do not. */
export class Belongings {
  readonly #store: Store;
  readonly parts: Map<Digest, Belonging> = new Map();
  readonly missing: MissingPart[] = [];

  constructor(store: Store, records: readonly RefRecord[]) {
    this.#store = store;
    for (const { reference, descriptor } of records) this.#walk(descriptor.digest, reference);
  }

  kindOf(digest: Digest): BlobKind {
    return this.parts.get(digest)?.kind ?? 'blob';
  }

  referencesTo(digest: Digest): string[] {
    return [...(this.parts.get(digest)?.references ?? [])].sort();
  }

  #walk(root: Digest, reference: string): void {
    const seen = new Set<Digest>();
    const plain = new Set<Digest>();
    const waiting: { digest: Digest; kind: BlobKind; optional: boolean }[] = [
      { digest: root, kind: 'manifest', optional: false },
    ];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { digest, optional } = next;
      if (seen.has(digest)) continue;
      seen.add(digest);
      const named = readDocument(this.#store.root, digest);
      const kind = named === undefined || named.kind === 'other' ? next.kind : named.kind;
      this.#note(digest, kind, reference);
      if (named === undefined) {
        if (!optional) this.missing.push({ digest, kind, reference });
        continue;
      }
      // Of an index, most platforms are never here.
      const child = named.kind === 'index' ? 'manifest' : 'config';
      for (const d of named.documents) waiting.push({ digest: d, kind: child, optional: named.kind === 'index' });
      for (const digest of named.plain) plain.add(digest);
      for (const diffId of named.layers) {
        const isBlob = plain.has(diffId);
        const kind = isBlob ? 'blob' : 'layer tar';
        this.#note(diffId, kind, reference);
        const here = isBlob ? this.#store.hasBlob(diffId) : hasLayer(this.#store, diffId);
        if (!here) this.missing.push({ digest: diffId, kind, reference });
      }
      if (named.blobs.length > 0) this.#noteBlobs(named, reference);
    }
  }

  /** An image's compressed layers need not be here, since its tars are; an artifact's blobs must. */
  #noteBlobs({ documents, blobs, plain }: NamedByDocument, reference: string): void {
    const config = documents[0];
    const kind = config === undefined ? undefined : readDocument(this.#store.root, config)?.kind;
    for (const digest of blobs) {
      this.#note(digest, kind === 'other' || plain.includes(digest) ? 'blob' : 'compressed layer', reference);
      if (kind === 'other' && !this.#store.hasBlob(digest)) this.missing.push({ digest, kind: 'blob', reference });
    }
  }

  #note(digest: Digest, kind: BlobKind, reference: string): void {
    const known = this.parts.get(digest);
    if (known === undefined) this.parts.set(digest, { kind, references: new Set([reference]) });
    else {
      // An uncompressed layer in a manifest is the tar itself.
      if (kind === 'layer tar') known.kind = kind;
      known.references.add(reference);
    }
  }
}
