import { bindCall } from './call.ts';

export const CLONE_FS = 0x200;
export const CLONE_NEWNS = 0x20000;

const unshareCall = bindCall<[number]>('unshare', ['int'], 'int');
const setnsCall = bindCall<[number, number]>('setns', ['int', 'int'], 'int');

/** unshare(2), of the calling thread only: Node's thread pool keeps what it had. */
export function unshare(flags: number): void {
  unshareCall(undefined, flags);
}

/** setns(2), of the calling thread only. For CLONE_NEWNS the thread must have unshared CLONE_FS before. */
export function setns(fd: number, type: number): void {
  setnsCall(undefined, fd, type);
}
