import { reportError } from './failure.ts';

/** Does the same for each name, as Docker: prints those that went well, and goes on after those that did not. */
export async function forEachName(
  names: readonly string[],
  stdout: { write(text: string): unknown },
  work: (name: string) => unknown,
): Promise<number> {
  let status = 0;
  for (const name of names) {
    try {
      await work(name);
      stdout.write(`${name}\n`);
    } catch (error) {
      reportError(error);
      status = 1;
    }
  }
  return status;
}
