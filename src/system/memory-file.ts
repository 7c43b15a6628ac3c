import { bindCall, cPath } from './call.ts';

const memfdCall = bindCall<[Buffer, number]>('memfd_create', ['void *', 'uint'], 'int');
const MFD_CLOEXEC = 1;

/** An empty file without a name in any directory, close-on-exec; gone with its last descriptor. */
export function makeMemoryFile(name: string): number {
  return memfdCall(name, cPath(name), MFD_CLOEXEC);
}
