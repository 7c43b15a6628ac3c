import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ImagoError } from '../core/errors.ts';

/** The part of koffi that Imago uses. A `Uint8Array` or `Buffer` goes where C has a pointer. */
interface Koffi {
  load(path: string | null): { func(name: string, result: string, args: string[]): (...args: unknown[]) => unknown };
  errno(): number;
}

let koffi: Koffi | undefined;
let libc: ReturnType<Koffi['load']> | undefined;

/**
 * Loads koffi's prebuilt binary itself: 1 ms, where its package's entry point takes 14 to 28.
 * Throws `NO_FFI` where there is no binary for this platform.
 */
function loadKoffi(): Koffi {
  if (koffi !== undefined) return koffi;
  const require = createRequire(import.meta.url);
  const name = `@koromix/koffi-linux-${process.arch}`;
  try {
    const glibc = !readFileSync('/proc/self/maps', 'latin1').includes('ld-musl-');
    const file = require.resolve(`${name}/${glibc ? 'linux' : 'musl'}_${process.arch}/koffi.node`);
    koffi = require(file) as Koffi;
  } catch (cause) {
    throw new ImagoError('NO_FFI', 'system calls are not available: koffi has no binary here', {
      want: name,
      remedy: "reinstall with 'npm install' on this platform (optional dependencies on)",
      cause,
    });
  }
  return koffi;
}

/** A function of libc by its C signature. Types are koffi's: int, long, uint64_t, void *, str. */
export function libcFunction(name: string, result: string, args: string[]): (...values: unknown[]) => unknown {
  libc ??= loadKoffi().load(null);
  return libc.func(name, result, args);
}

/** errno of the last libc call on this thread. */
export function lastErrno(): number {
  return loadKoffi().errno();
}
