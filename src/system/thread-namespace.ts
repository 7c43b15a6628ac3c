import { closeSync, openSync, statSync } from 'node:fs';
import { bindCall, cPath } from './call.ts';
import { CLONE_FS, CLONE_NEWNS, setns, unshare } from './namespace.ts';

const fchdirCall = bindCall<[number]>('fchdir', ['int'], 'int');
const chdirCall = bindCall<[Buffer]>('chdir', ['void *'], 'int');
const chrootCall = bindCall<[Buffer]>('chroot', ['void *'], 'int');

/**
 * Gives this thread root and working directories of its own, without which it cannot change mount namespaces.
 * To be called each time: a thread that it starts shares them again.
 */
export function unshareDirectories(): void {
  unshare(CLONE_FS);
}

/** Runs `inside` with another working directory, of this thread only. Synchronous only. */
export function insideDirectory<T>(path: string, inside: () => T): T {
  unshareDirectories();
  const before = openSync('.', 'r');
  try {
    chdirCall(path, cPath(path));
    return inside();
  } finally {
    fchdirCall(undefined, before);
    closeSync(before);
  }
}

/** A descriptor of the mount namespace that this thread is in; the caller closes it. */
export function openOwnNamespace(): number {
  return openSync('/proc/thread-self/ns/mnt', 'r');
}

/**
 * Runs `inside` on this thread in the mount namespace `there` (a descriptor), then comes back, root and working
 * directories included. Synchronous only: what goes through the thread pool or an await would run elsewhere.
 */
export function withNamespace<T>(there: number, inside: () => T): T {
  unshareDirectories();
  return returning(() => {
    setns(there, CLONE_NEWNS);
    return inside();
  });
}

/** Like `withNamespace`, in a new namespace: a copy of this one, gone afterwards unless `inside` keeps hold of it. */
export function withNewNamespace<T>(inside: () => T): T {
  unshareDirectories();
  return returning(() => {
    unshare(CLONE_NEWNS);
    return inside();
  });
}

function returning<T>(inside: () => T): T {
  const home = openOwnNamespace();
  const directory = openSync('.', 'r');
  const root = openSync('/', 'r');
  const before = statSync('/', { bigint: true });
  try {
    return inside();
  } finally {
    setns(home, CLONE_NEWNS);
    // setns leaves the thread at the namespace's root, which in a chroot is not where it came from.
    const after = statSync('/', { bigint: true });
    if (after.ino !== before.ino || after.dev !== before.dev) {
      fchdirCall(undefined, root);
      chrootCall('.', cPath('.'));
    }
    fchdirCall(undefined, directory);
    closeSync(root);
    closeSync(directory);
    closeSync(home);
  }
}
