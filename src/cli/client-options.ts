import { ImagoError } from '../core/errors.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import type { CommandContext, OptionSpec } from './command.ts';

/** `--insecure` of every command that talks to a registry. */
export const INSECURE: OptionSpec = {
  type: 'boolean',
  help: 'Take plain HTTP, and certificates that nobody vouches for',
};

/** What the flags and the signals say to the registry's client; each retry is told on stderr. */
export function registryOptions({ options, stderr, signal }: CommandContext): ClientOptions {
  return {
    insecure: options.insecure === true,
    signal,
    onRetry: ({ url, reason, delayMs }) =>
      stderr.write(`imago: ${url}: ${reason}: trying again in ${Math.ceil(delayMs / 1000)} s\n`),
  };
}

/** Values of `--annotation KEY=VALUE`. Throws `BAD_FLAG_VALUE`. */
export function parseAnnotations(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const at = value.indexOf('=');
      if (at > 0) return [value.slice(0, at), value.slice(at + 1)];
      throw new ImagoError('BAD_FLAG_VALUE', 'invalid --annotation', {
        want: 'key=value',
        got: JSON.stringify(value.slice(0, 200)),
      });
    }),
  );
}
