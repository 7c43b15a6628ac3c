import { ImagoError } from '../core/errors.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import type { Store } from '../store/store.ts';
import type { CopySource, CopyTarget, Place } from './copy-ends.ts';
import { openLayoutSource } from './copy-layout.ts';
import { LayoutTarget } from './copy-layout-target.ts';
import { RegistrySource, RegistryTarget } from './copy-registry.ts';
import { StoreSource, StoreTarget } from './copy-store.ts';
import { TarTarget } from './copy-tar-target.ts';

interface OpenOptions {
  source?: ClientOptions;
  target?: ClientOptions;
  openStore?: () => Store;
  signal?: AbortSignal;
}

/** Throws what opening the place throws: `NO_SUCH_FILE`, `BAD_LAYOUT`, `IMAGE_NOT_FOUND`, `BAD_REFERENCE`. */
export function openSource(place: Place, options: OpenOptions): CopySource {
  const { transport, path, name } = place;
  const client = { ...options.source, signal: options.signal };
  if (transport === 'docker') return new RegistrySource(name!, client);
  if (transport === 'store') return new StoreSource(needStore(options), name!, client);
  return openLayoutSource(transport, path, name);
}

/** Nothing is written yet. `repository` is where the image comes from, if it is a registry's. Throws `OUTPUT_EXISTS`, `CANNOT_WRITE`, `BAD_REFERENCE`. */
export function openTarget(place: Place, options: OpenOptions, repository: string | undefined): CopyTarget {
  const { transport, path, name } = place;
  if (transport === 'docker') return new RegistryTarget(name!, { ...options.target, signal: options.signal });
  if (transport === 'store') return new StoreTarget(needStore(options), name!, { repository, signal: options.signal });
  if (transport === 'oci') return new LayoutTarget(path, name);
  return new TarTarget(path, name, { docker: transport === 'docker-archive' });
}

function needStore({ openStore }: OpenOptions): Store {
  if (openStore !== undefined) return openStore();
  throw new ImagoError('BAD_TRANSPORT', "'store:' needs a store, and none was given");
}
