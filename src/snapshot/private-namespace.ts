import { ImagoError } from '../core/errors.ts';
import { SystemError } from '../system/call.ts';
import { MS, mount } from '../system/mount.ts';
import { CLONE_NEWNS, unshare } from '../system/namespace.ts';
import { openOwnNamespace, unshareDirectories } from '../system/thread-namespace.ts';
import { needRoot } from './privilege.ts';

let home: number | undefined;

/**
 * Gives the calling thread, and every process started from it, a mount namespace of their own: a copy of the
 * caller's in which the host's later mounts still appear, and from which none of ours get out. What is mounted here
 * ends with the last process in it. Idempotent. The thread pool stays outside: use synchronous calls on what is
 * mounted from here on. Throws `NEEDS_ROOT`.
 */
export function enterPrivateNamespace(): void {
  if (home !== undefined) return;
  needRoot('make a private mount namespace');
  unshareDirectories();
  const before = openOwnNamespace();
  try {
    unshare(CLONE_NEWNS);
    // Set from here on: even where the next step fails, this thread has left.
    home = before;
    mount('none', '/', 'none', MS.REC | MS.SLAVE);
  } catch (cause) {
    throw new ImagoError('NO_MOUNT_NAMESPACE', 'cannot make a private mount namespace here', {
      op: 'mount',
      got: cause instanceof SystemError ? cause.code : String(cause),
      remedy: 'run outside of this container or chroot, or give it CAP_SYS_ADMIN',
      exitCode: 125,
      cause,
    });
  }
}

/**
 * The namespace that this process came from, if it left it: the pin lives there, and a copied namespace does not
 * include it (the kernel leaves out mounts of mount namespaces).
 */
export function homeNamespace(): number | undefined {
  return home;
}
