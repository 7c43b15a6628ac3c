import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import type { Store } from '../store/store.ts';
import { findInList, getList, putList } from './manifest-list.ts';

export interface AnnotateOptions {
  architecture?: string;
  os?: string;
  variant?: string;
  osVersion?: string;
  osFeatures?: readonly string[];
  annotations?: Readonly<Record<string, string>>;
}

const PART = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/**
 * Changes what a list says of one of its manifests; what is not given stays. Returns the new index.
 * Throws `NO_SUCH_LIST`, `NO_SUCH_MANIFEST`, `AMBIGUOUS_MANIFEST`, `BAD_PLATFORM`.
 */
export function annotateList(store: Store, name: string, manifest: string, options: AnnotateOptions): Descriptor {
  const list = getList(store, name);
  const child = findInList(list, manifest);
  const changed = annotate(child, options);
  const manifests = list.index.manifests.map((other) => (other.digest === child.digest ? changed : other));
  return putList(store, { ...list, index: { ...list.index, manifests } });
}

function annotate(child: Descriptor, options: AnnotateOptions): Descriptor {
  const { architecture, os, variant, osVersion, osFeatures, annotations } = options;
  const platform: Partial<Platform> = {
    ...child.platform,
    ...(architecture === undefined ? {} : { architecture: checked('architecture', architecture) }),
    ...(os === undefined ? {} : { os: checked('os', os) }),
    ...(variant === undefined ? {} : { variant: checked('variant', variant) }),
    ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
    ...(osFeatures === undefined || osFeatures.length === 0 ? {} : { 'os.features': [...osFeatures] }),
  };
  const both = platform.os !== undefined && platform.architecture !== undefined;
  if (!both && Object.keys(platform).length > 0) {
    throw new ImagoError('BAD_PLATFORM', 'a platform needs an os and an architecture', {
      remedy: 'give both --os and --arch',
    });
  }
  const merged = { ...child.annotations, ...annotations };
  return {
    ...child,
    ...(both ? { platform: platform as Platform } : {}),
    ...(Object.keys(merged).length > 0 ? { annotations: merged } : {}),
  };
}

function checked(what: string, text: string): string {
  if (PART.test(text)) return text;
  throw new ImagoError('BAD_PLATFORM', `invalid ${what}`, {
    want: 'a word such as linux or arm64',
    got: JSON.stringify(text.slice(0, 100)),
  });
}
