import { ImagoError } from '../core/errors.ts';
import { formatPlatform, matchPlatform, type Platform, parsePlatform } from '../oci/platform.ts';
import { findEmulation } from '../system/binfmt.ts';
import { isTrue } from './build-warnings.ts';

/** `--platform a,b`: each once, in order; the host's where none is named, and as `local`. Throws `BAD_PLATFORM`. */
export function readPlatforms(text: string | readonly string[] | undefined, host: Platform): Platform[] {
  const words = (typeof text === 'string' ? [text] : (text ?? [])).flatMap((word) => word.split(','));
  const named = words.map((word) => word.trim()).filter((word) => word !== '');
  const platforms = named.map((word) => (word === 'local' ? host : parsePlatform(word, host)));
  const distinct = new Map(platforms.map((platform) => [formatPlatform(platform), platform]));
  return distinct.size === 0 ? [host] : [...distinct.values()];
}

/**
 * Whether the result is one of several platforms, an index, also where it has only one: the build argument
 * BUILDKIT_MULTI_PLATFORM. Throws `BAD_PLATFORM`.
 */
export function isMultiPlatform(text: string | undefined, platforms: readonly Platform[]): boolean {
  const several = platforms.length > 1;
  if (text === undefined || text === '') return several;
  if (isTrue(text)) return true;
  if (['0', 'f', 'false'].includes(text.toLowerCase()) && !several) return false;
  throw new ImagoError('BAD_PLATFORM', `BUILDKIT_MULTI_PLATFORM=${text.slice(0, 40)} cannot be met`, {
    want: several ? 'true, or one platform' : 'true or false',
  });
}

/**
 * Whether this machine runs what is for a platform: as its own, or by an emulation that the kernel knows. Files of any
 * platform can be copied; only RUN asks. Throws `FOREIGN_PLATFORM`.
 */
export function checkRunnable(platform: Platform, host: Platform): void {
  const own = platform.os === host.os && platform.architecture === host.architecture;
  if (own || matchPlatform(host, platform)) return;
  const emulation = platform.os === host.os ? findEmulation(platform.architecture) : undefined;
  if (emulation?.fixed === true) return;
  const shown = formatPlatform(platform);
  throw new ImagoError('FOREIGN_PLATFORM', `this machine (${formatPlatform(host)}) cannot run programs for ${shown}`, {
    remedy:
      platform.os !== host.os
        ? 'leave RUN out, or do it in a stage with FROM --platform=$BUILDPLATFORM'
        : emulation === undefined
          ? "install an emulator with 'apt-get install qemu-user-static binfmt-support', or do it in a stage with FROM --platform=$BUILDPLATFORM"
          : `its emulator ${emulation.name} is registered without flag F, which containers need: register it with binfmt_misc's flag F`,
  });
}
