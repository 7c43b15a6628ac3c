import { type Digest, parseDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { familiarReference, parseReference } from '../oci/reference.ts';
import { openRepository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';

export interface ListReferrersOptions extends ClientOptions {
  artifactType?: string;
}

export interface Referrers {
  subject: Digest;
  referrers: Descriptor[];
}

/**
 * What refers to an image in its registry: signatures, SBOMs and the like, in the registry's order.
 * Throws `MANIFEST_UNKNOWN` for a tag that is not there, and what the registry's client throws.
 */
export async function listRemoteReferrers(name: string, options: ListReferrersOptions = {}): Promise<Referrers> {
  const { artifactType, ...client } = options;
  const reference = parseReference(name);
  await using repository = openRepository(reference, client);
  // By digest nothing need be there: referrers may come before their subject.
  const subject = reference.digest ?? (await repository.headManifest(reference.tag!))?.digest;
  if (subject === undefined) {
    throw new ImagoError('MANIFEST_UNKNOWN', `'${familiarReference(reference)}' is not in the registry`, {
      remedy: `'imago tags' lists what there is`,
    });
  }
  const filter = artifactType === undefined ? {} : { artifactType };
  return { subject: parseDigest(subject), referrers: await repository.listReferrers(subject, filter) };
}
