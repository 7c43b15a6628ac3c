import { bindCall, bindSyscall, cPath } from './call.ts';
import { MNT_DETACH, umount } from './mount.ts';

/** pivot_root(2) has no wrapper in every libc, and its number differs (asm-generic: 41). */
const NUMBERS: Record<string, number> = { x64: 155, s390x: 217, ppc64: 203 };

const pivotCall = bindSyscall<[Buffer, Buffer]>('pivot_root', NUMBERS[process.arch] ?? 41, ['void *', 'void *']);
const chdirCall = bindCall<[Buffer]>('chdir', ['void *'], 'int');

/**
 * Makes the mount at `path` the root of this thread's mount namespace and drops every other mount of it.
 * Only in a namespace of one's own; the thread's directory is the new root afterwards.
 */
export function pivotInto(path: string): void {
  chdirCall(path, cPath(path));
  // pivot_root(2) §Notes: pivot_root(".", ".") stacks the old root on the new one, which then goes.
  pivotCall(path, cPath('.'), cPath('.'));
  umount('.', MNT_DETACH);
}
