import { closeSync, openSync } from 'node:fs';
import { bindCall } from './call.ts';

export const CLONE_FS = 0x200;
export const CLONE_NEWNS = 0x20000;

const unshareCall = bindCall<[number]>('unshare', ['int'], 'int');
const setnsCall = bindCall<[number, number]>('setns', ['int', 'int'], 'int');
const fchdirCall = bindCall<[number]>('fchdir', ['int'], 'int');

/** unshare(2), of the calling thread only: Node's thread pool keeps what it had. */
export function unshare(flags: number): void {
  unshareCall(undefined, flags);
}

/** setns(2), of the calling thread only. For CLONE_NEWNS the thread must have unshared CLONE_FS before. */
export function setns(fd: number, type: number): void {
  setnsCall(undefined, fd, type);
}

/**
 * Runs `inside` on this thread in the mount namespace that `path` names, then comes back, working directory included.
 * Synchronous only: what goes through the thread pool or an await would run elsewhere.
 */
export function inMountNamespace<T>(path: string, inside: () => T): T {
  unshareCall(undefined, CLONE_FS);
  const home = openSync('/proc/thread-self/ns/mnt', 'r');
  const cwd = openSync('.', 'r');
  const there = openSync(path, 'r');
  try {
    setnsCall(path, there, CLONE_NEWNS);
    try {
      return inside();
    } finally {
      setnsCall(undefined, home, CLONE_NEWNS);
      fchdirCall(undefined, cwd);
    }
  } finally {
    closeSync(there);
    closeSync(cwd);
    closeSync(home);
  }
}
