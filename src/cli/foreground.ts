import type { ForegroundEnd, ForegroundStreams } from '../container/run.ts';
import { ImagoError } from '../core/errors.ts';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from '../runtime/detach-keys.ts';
import type { CommandContext } from './command.ts';

/**
 * This command's streams for a container's. With a terminal, the user's must be one too where it is read.
 * Throws `NOT_A_TERMINAL`.
 */
export function foregroundStreams(
  context: CommandContext,
  wanted: { terminal: boolean; stdin: boolean; detachKeys?: string },
): ForegroundStreams {
  const { stdin, stdout } = context;
  const streams: ForegroundStreams = { stdout, stderr: context.stderr };
  if (wanted.terminal && wanted.stdin && !stdin.isTTY) {
    throw new ImagoError('NOT_A_TERMINAL', 'the input device is not a TTY', {
      remedy: 'leave out -t, or run it in a terminal',
      exitCode: 1,
    });
  }
  if (wanted.stdin) streams.stdin = stdin;
  if (wanted.terminal) {
    streams.detachKeys = parseDetachKeys(wanted.detachKeys ?? DEFAULT_DETACH_KEYS);
    if (stdin.isTTY && stdout.isTTY) streams.terminal = { input: 0, output: stdout };
  }
  return streams;
}

export function endStatus(end: ForegroundEnd): number {
  return end.kind === 'exited' ? end.exitCode : 0;
}
