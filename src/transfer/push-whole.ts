import { isImagoError } from '../core/errors.ts';

/** Together with the first. */
const ROUNDS = 3;

/**
 * Pushes, and once more where the registry answers that it lacks a blob of the manifest: its collector took it after
 * it was seen there (docs/ARCHITECTURE.md, "The registry"). `push` looks at each blob again and sends what is missing.
 */
export async function pushWhole<T>(push: () => Promise<T>): Promise<T> {
  for (let round = 1; ; round++) {
    try {
      return await push();
    } catch (error) {
      if (round === ROUNDS || !isImagoError(error, 'MANIFEST_BLOB_UNKNOWN')) throw error;
    }
  }
}
