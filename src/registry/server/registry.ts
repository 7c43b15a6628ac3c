import type { RegistryStorage } from '../storage/storage.ts';
import { HashStates } from './hash-state.ts';
import { ManifestCache } from './manifest-cache.ts';
import { OpenUploads } from './open-uploads.ts';
import { DEFAULT_LIMITS, type HandlerOptions, type Limits } from './options.ts';

/** A registry over its storage, with what one process remembers; other replicas may work on the same storage. */
export interface Registry {
  readonly storage: RegistryStorage;
  readonly limits: Readonly<Limits>;
  readonly sparse: 'nothing' | 'children' | 'everything';
  readonly readOnly: boolean;
  readonly manifests: ManifestCache;
  readonly hashes: HashStates;
  readonly openUploads: OpenUploads;
}

export function openRegistry(options: Pick<HandlerOptions, 'storage' | 'limits' | 'sparse' | 'readOnly'>): Registry {
  const limits: Limits = { ...DEFAULT_LIMITS };
  for (const [name, value] of Object.entries(options.limits ?? {})) {
    if (value !== undefined) limits[name as keyof Limits] = value;
  }
  return {
    storage: options.storage,
    limits,
    sparse: options.sparse ?? 'children',
    readOnly: options.readOnly ?? false,
    manifests: new ManifestCache(limits.manifestCacheBytes),
    hashes: new HashStates(),
    openUploads: new OpenUploads(options.storage, limits),
  };
}
