import { fstatSync, readFileSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { ImagoError } from '../core/errors.ts';
import type { CommandContext } from './command.ts';

/**
 * What comes on the standard input: a path where that is a file (`< image.tar`), which may then be read in any order,
 * else the stream, ended by the signal. Throws `STDIN_IS_TERMINAL`.
 */
export function archiveInput(context: CommandContext, remedy: string): string | AsyncIterable<Uint8Array> {
  if (isFileFromStart()) return '/dev/stdin';
  const { stdin, signal } = context;
  if (stdin.isTTY) {
    throw new ImagoError('STDIN_IS_TERMINAL', 'nothing comes in: the standard input is a terminal', { remedy });
  }
  return addAbortSignal(signal, stdin) as AsyncIterable<Uint8Array>;
}

function isFileFromStart(): boolean {
  try {
    return fstatSync(0).isFile() && /^pos:\s*0$/m.test(readFileSync('/proc/self/fdinfo/0', 'latin1'));
  } catch {
    return false;
  }
}
