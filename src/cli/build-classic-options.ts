import type { Output } from './build-printer.ts';
import type { OptionSpec, OptionValues } from './command.ts';

/**
 * Flags of docker's classic builder that scripts still have, and that docker takes with BuildKit though they mean
 * nothing to it. They are not in the help.
 */
export const BUILD_CLASSIC_OPTIONS: Record<string, OptionSpec> = {
  compress: { type: 'boolean', hidden: true, help: 'Ignored' },
  'force-rm': { type: 'boolean', hidden: true, help: 'Ignored' },
  rm: { type: 'boolean', hidden: true, help: 'Ignored' },
  isolation: { type: 'string', value: 'kind', hidden: true, help: 'Ignored' },
  'security-opt': { type: 'string', multiple: true, value: 'option', hidden: true, help: 'Ignored' },
  squash: { type: 'boolean', hidden: true, help: 'Ignored' },
};

/** Those after which the image is another than the flag says. */
const WARNINGS: readonly [option: string, instead: string][] = [
  ['isolation', 'a RUN is isolated in one way'],
  ['security-opt', "a RUN asks for rights itself: 'RUN --security=insecure', with --allow security.insecure"],
  ['squash', 'copy from a stage into another for one layer: COPY --from=STAGE / /'],
];

/** Tells what was given and has no effect, as docker does. */
export function warnOfClassicOptions(options: OptionValues, stderr: Output): void {
  for (const [name, instead] of WARNINGS) {
    const value = options[name];
    if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) continue;
    stderr.write(`WARNING: --${name} has no effect: ${instead}\n`);
  }
}
