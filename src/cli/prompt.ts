import { ImagoError } from '../core/errors.ts';
import type { CommandContext } from './command.ts';

const SIGINT_STATUS = 130;

/** Asks for one line at the terminal; a hidden one is not echoed. Throws `NO_TERMINAL`, `NO_INPUT`, `INTERRUPTED`. */
export async function promptLine(
  { stdin, stdout }: CommandContext,
  question: string,
  { hidden = false }: { hidden?: boolean } = {},
): Promise<string> {
  if (!stdin.isTTY) {
    // Docker's words.
    throw new ImagoError('NO_TERMINAL', 'cannot perform an interactive login from a non TTY device', {
      remedy: 'give -u and --password-stdin',
    });
  }
  const { createInterface } = await import('node:readline');
  const { Writable } = await import('node:stream');
  const output = hidden ? new Writable({ write: (_chunk, _encoding, done) => done() }) : stdout;
  const lines = createInterface({ input: stdin, output, terminal: true, historySize: 0 });
  try {
    return await new Promise<string>((resolve, reject) => {
      const stop = (code: string, summary: string, exitCode: number): void =>
        reject(new ImagoError(code, summary, { exitCode }));
      lines.once('SIGINT', () => stop('INTERRUPTED', 'interrupted', SIGINT_STATUS));
      lines.once('close', () => stop('NO_INPUT', 'the input ended before a line came', 1));
      lines.once('line', resolve);
      if (hidden) stdout.write(question);
      else {
        lines.setPrompt(question);
        lines.prompt();
      }
    });
  } finally {
    if (hidden) stdout.write('\n');
    lines.close();
  }
}
