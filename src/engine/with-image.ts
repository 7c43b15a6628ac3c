import { isImagoError } from '../core/errors.ts';
import type { Platform } from '../oci/platform.ts';
import { parseReference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import type { PullOptions } from '../transfer/pull.ts';

/** Whether an image is fetched from its registry: whenever it is used, where it is not in the store, or not at all. */
export type PullPolicy = 'always' | 'missing' | 'never';

export interface ImageWish {
  /** Default 'missing'. */
  pull?: PullPolicy;
  /** An image for another one is as good as none. */
  platform?: Platform;
  /** Called before an image is fetched, with how to do that. */
  onPull?: (name: string, missing: boolean) => PullOptions | Promise<PullOptions>;
}

/**
 * Does `work`, which needs an image, and once more with the image fetched where it fails for want of it: so it costs
 * nothing where the image is there. `work` must not have done anything before it looks for the image.
 */
export async function withImage<T>(
  store: Store,
  image: string,
  { pull = 'missing', platform, onPull }: ImageWish,
  work: () => T | Promise<T>,
): Promise<T> {
  if (pull !== 'always') {
    try {
      return await work();
    } catch (error) {
      const missing = isImagoError(error, 'IMAGE_NOT_FOUND') || isImagoError(error, 'PLATFORM_MISMATCH');
      if (pull === 'never' || !missing || !isName(image)) throw error;
    }
  }
  const options = await onPull?.(image, pull !== 'always');
  const { pullImage } = await import('../transfer/pull.ts');
  await pullImage(store, image, platform === undefined ? options : { ...options, platform });
  return await work();
}

/** An ID is no name that a registry knows. */
function isName(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch {
    return false;
  }
}
