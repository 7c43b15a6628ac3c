import type { CheckWarning } from '../build/checks/report.ts';
import { formatCheck } from '../engine/build-checks.ts';
import type { DockerfileSource } from '../engine/build-dockerfile.ts';
import { printSource } from './build-error.ts';
import { escapeControls } from './build-output-text.ts';
import type { Output } from './build-printer.ts';
import { createStyle } from './style.ts';

/** What the checks of a build found, as docker prints it behind the build; in full with `--debug`. */
export function printChecks(
  out: Output,
  warnings: readonly CheckWarning[],
  source: DockerfileSource | undefined,
  debug: boolean,
): void {
  if (warnings.length === 0) return;
  const count = warnings.length === 1 ? '1 warning found' : `${warnings.length} warnings found`;
  const hint = debug ? '' : ' (use imago --debug to expand)';
  out.write(`\n ${createStyle(out).yellow(`${count}${hint}:`)}\n`);
  for (const warning of warnings) {
    out.write(` - ${escapeControls(formatCheck(warning))}\n`);
    if (!debug) continue;
    out.write(`${warning.description}\n`);
    if (warning.url !== undefined) out.write(`More info: ${warning.url}\n`);
    if (source !== undefined) printSource(out, source, warning, warning.word);
    out.write('\n');
  }
}
