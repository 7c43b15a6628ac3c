import { ImagoError } from '../../core/errors.ts';
import { formatSize } from '../../core/sizes.ts';
import { verifyStore } from '../../engine/verify.ts';
import type { Damage, VerifyResult } from '../../store/verify.ts';
import type { Command } from '../command.ts';
import { printValue } from '../format.ts';
import { createProgress } from '../progress.ts';
import { createStyle, type Style } from '../style.ts';

export const command: Command = {
  name: 'verify',
  summary: 'Hash what is stored, make every index anew and compare',
  usage: '[OPTIONS] [IMAGE...]',
  description: 'What is damaged is set aside, never to be used, and the exit status is 1. Without images: everything.',
  options: {
    all: { type: 'boolean', short: 'a', help: 'Verify everything that is stored' },
    format: { type: 'string', help: "Print as 'json' or by a Go template" },
    quiet: { type: 'boolean', short: 'q', help: 'Print nothing but damage' },
  },
  args: { min: 0 },
  complete: 'image',
  async run({ args, options, stdout, stderr, openStore }) {
    if (options.all === true && args.length > 0) {
      throw new ImagoError('BAD_USAGE', "'imago verify' takes images or --all, not both", {
        remedy: "see 'imago verify --help'",
      });
    }
    const result = await verifyWithProgress(openStore(), args, stderr);
    if (options.format !== undefined) printValue(stdout, result, options.format as string);
    else stdout.write(describe(result, createStyle(stdout), options.quiet === true));
    return result.damaged.length > 0 ? 1 : 0;
  },
};

async function verifyWithProgress(
  store: Parameters<typeof verifyStore>[0],
  images: readonly string[],
  stderr: NodeJS.WriteStream,
): Promise<VerifyResult> {
  // In a pipe the result alone says enough.
  const progress = stderr.isTTY ? createProgress(stderr) : undefined;
  try {
    return await verifyStore(store, {
      ...(images.length > 0 ? { images } : {}),
      onProgress: (done, total) =>
        progress?.update('verify', { status: 'reading', done, total, finished: done === total }),
    });
  } finally {
    progress?.close();
  }
}

function describe({ checked, bytes, damaged, regenerated }: VerifyResult, style: Style, quiet: boolean): string {
  const lines = damaged.map((damage) => describeDamage(damage, style));
  if (quiet) return lines.join('');
  for (const { kind, digest } of regenerated) lines.push(`${style.yellow('made anew')}: ${kind} of ${digest}\n`);
  const findings = [
    ...(damaged.length > 0 ? [style.red(`${damaged.length} damaged or missing`)] : []),
    ...(regenerated.length > 0 ? [`${regenerated.length} made anew`] : []),
  ];
  const verdict = findings.length === 0 ? style.green('all as it was stored') : findings.join(', ');
  lines.push(`Verified ${checked} ${checked === 1 ? 'blob' : 'blobs'}, ${formatSize(bytes)}: ${verdict}\n`);
  return lines.join('');
}

function describeDamage({ kind, digest, reason, path, references, remedy }: Damage, style: Style): string {
  const name = digest === undefined ? kind : `${kind} ${digest}`;
  const lines = [`${style.red('damaged')}: ${name}: ${reason}`];
  if (references.length > 0) lines.push(`  belongs to ${references.join(', ')}`);
  if (path !== undefined) lines.push(`  set aside as ${path}`);
  lines.push(`  to get it back: ${remedy}`);
  return `${lines.join('\n')}\n`;
}
