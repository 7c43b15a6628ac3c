import type { Digest } from '../core/digest.ts';
import type { Field } from './json.ts';
import type { Platform } from './platform.ts';

/** OCI image-spec v1.1.1, descriptor.md. */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  /** Bytes. */
  size: number;
  urls?: string[];
  annotations?: Record<string, string>;
  /** Base64 of the content itself. */
  data?: string;
  artifactType?: string;
  /** In an index only. */
  platform?: Platform;
}

/** Checks a descriptor in a document from outside; members that are not known stay as they are. */
export function readDescriptor(field: Field): Descriptor {
  field.get('mediaType').nonEmpty();
  field.get('digest').digest();
  field.get('size').size();
  field.get('urls').optional('strings');
  field.get('annotations').optional('string map');
  field.get('data').optional('string');
  field.get('artifactType').optional('string');
  const platform = field.get('platform');
  if (platform.present) {
    platform.get('os').string();
    platform.get('architecture').string();
    platform.get('variant').optional('string');
    platform.get('os.version').optional('string');
    platform.get('os.features').optional('strings');
  }
  return field.value as Descriptor;
}

/** The three members that say which bytes are meant, without annotations, platform and the like. */
export function bareDescriptor({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}
