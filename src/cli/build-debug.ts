import type { FailedStep } from '../build/failure.ts';
import { printLastWords } from './build-output.ts';
import { escapeControls, oneLine } from './build-output-text.ts';
import type { BuildPrinter, Output } from './build-printer.ts';

interface Streams {
  stdin: { isTTY?: boolean };
  stdout: { isTTY?: boolean };
  stderr: Output;
}

/** `--debug`: a shell where a step failed, if there is a terminal for it. The build then fails as it would have. */
export async function debugFailure(failed: FailedStep, streams: Streams, printer: BuildPrinter): Promise<void> {
  const { stdin, stdout, stderr } = streams;
  printer.pause();
  try {
    if (stdin.isTTY !== true || stdout.isTTY !== true) {
      stderr.write('--debug: a shell where the step failed needs a terminal: run the build in one, without pipes\n');
      return;
    }
    printLastWords(stderr, failed.error);
    stderr.write(`ERROR: ${escapeControls(failed.error.message)}\n`);
    stderr.write(`A shell in the file system of ${oneLine(failed.step)}: when it ends, the build fails.\n`);
    const status = await failed.shell();
    stderr.write(`The shell ended with ${status}.\n`);
  } catch (error) {
    stderr.write(`--debug: no shell: ${escapeControls((error as Error).message)}\n`);
  } finally {
    printer.resume();
  }
}
