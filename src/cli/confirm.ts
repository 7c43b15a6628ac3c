import type { CommandContext } from './command.ts';

/** Asks as Docker does; anything but y or yes, and the end of the input, is a no. */
export async function confirm({ stdin, stdout }: CommandContext, warning: string): Promise<boolean> {
  stdout.write(`${warning}\nAre you sure you want to continue? [y/N] `);
  let text = '';
  stdin.setEncoding('utf8');
  for await (const chunk of stdin) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  if (!text.includes('\n')) stdout.write('\n');
  return /^y(es)?$/i.test(text.split('\n')[0]!.trim());
}
