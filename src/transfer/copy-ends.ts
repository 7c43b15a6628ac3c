import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import type { OpenBytes } from '../system/checked-bytes.ts';

/** A manifest or an index, byte for byte. */
export interface CopyDocument {
  bytes: Uint8Array;
  mediaType: string;
  digest: Digest;
}

export interface CopyProgress {
  onProgress?: (done: number) => void;
  signal?: AbortSignal;
}

/** Where an image comes from. */
export interface CopySource extends AsyncDisposable {
  /** For errors, and for what is printed. */
  readonly title: string;
  /** The repository in full, where it is a registry's: for mounts, and to be remembered. */
  readonly repository?: string;
  /** What the name stands for. */
  readTop(): Promise<CopyDocument>;
  /** What an index names; digest and size are checked. */
  readDocument(descriptor: Descriptor): Promise<CopyDocument>;
  /** Hands a blob's checked bytes to `send`; again from another place, where it has several and one fails. */
  sendBlob(descriptor: Descriptor, send: (open: OpenBytes) => Promise<void>, signal?: AbortSignal): Promise<void>;
}

/** Where an image goes. */
export interface CopyTarget extends AsyncDisposable {
  readonly title: string;
  /** Blobs that may be written at one time. */
  readonly atOnce: number;
  /** Throws where it cannot hold such a thing, before anything is written. */
  check?(top: CopyDocument): void;
  /** It has the document and all below it. */
  hasDocument(descriptor: Descriptor): Promise<boolean>;
  /** An image comes, `readConfig` gives its config. */
  beginImage?(manifest: ImageManifest, readConfig: () => Promise<Uint8Array>): Promise<void>;
  hasBlob(descriptor: Descriptor): Promise<boolean>;
  /** Takes it over from another repository of the same registry. */
  mountBlob?(descriptor: Descriptor, repository: string): Promise<boolean>;
  writeBlob(descriptor: Descriptor, open: OpenBytes, progress: CopyProgress): Promise<void>;
  /** All that it names is there. */
  writeDocument(document: CopyDocument): Promise<void>;
  /** The last one, which gets the name. Before it, the target shows nothing. */
  finish(top: CopyDocument): Promise<void>;
}

export const TRANSPORTS = ['docker', 'oci', 'oci-archive', 'docker-archive', 'store'] as const;

export interface Place {
  transport: (typeof TRANSPORTS)[number];
  /** Of a directory or a file; empty for the others. */
  path: string;
  /** What stands behind the path; the reference for a registry and the store. */
  name: string | undefined;
}

/** skopeo's other transports: not names of images. */
const FOREIGN = ['dir', 'docker-daemon', 'containers-storage', 'ostree', 'sif', 'tarball', 'atomic'];

/**
 * `docker://REF` or `REF`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]`, `store:NAME`, as
 * skopeo's transports (containers-transports(5)). Throws `BAD_TRANSPORT`.
 */
export function parsePlace(text: string): Place {
  const colon = text.indexOf(':');
  const word = text.slice(0, Math.max(0, colon));
  const rest = text.slice(colon + 1);
  if (word === 'docker' && rest.startsWith('//')) return registryPlace(rest.slice(2), text);
  if (word === 'store') return { transport: 'store', path: '', name: needed(rest, text) };
  if (word === 'oci' || word === 'oci-archive' || word === 'docker-archive') {
    const end = rest.indexOf(':');
    const path = needed(end < 0 ? rest : rest.slice(0, end), text);
    return { transport: word, path, name: end < 0 ? undefined : needed(rest.slice(end + 1), text) };
  }
  if (FOREIGN.includes(word)) {
    throw new ImagoError('BAD_TRANSPORT', `'${word}:' is not a place that can be copied from or to`, {
      want: TRANSPORTS.map((name) => (name === 'docker' ? 'docker://' : `${name}:`)).join(', '),
      remedy: "for an image of that name, write 'docker://' before it",
    });
  }
  return registryPlace(text, text);
}

function registryPlace(reference: string, text: string): Place {
  return { transport: 'docker', path: '', name: needed(reference, text) };
}

function needed(part: string, text: string): string {
  if (part !== '') return part;
  throw new ImagoError('BAD_TRANSPORT', 'this names no image', {
    want: 'docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF] or store:NAME',
    got: JSON.stringify(text.slice(0, 200)),
  });
}
