import { ImagoError } from '../../core/errors.ts';
import { readLogsByName } from '../../engine/logs.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'logs',
  summary: 'Show the output of a container',
  usage: '[OPTIONS] CONTAINER',
  options: {
    follow: { type: 'boolean', short: 'f', help: 'Go on until the container ends' },
    since: { type: 'string', value: 'time', complete: 'none', help: 'From then on (RFC 3339, or an age such as 10m)' },
    tail: { type: 'string', short: 'n', value: 'number', complete: 'none', help: "The last so many lines (or 'all')" },
    timestamps: { type: 'boolean', short: 't', help: 'Begin each line with its time' },
    until: { type: 'string', value: 'time', complete: 'none', help: 'Up to then' },
  },
  args: { min: 1, max: 1 },
  complete: 'container',
  async run(context) {
    const { options, stdout, stderr } = context;
    const entries = readLogsByName(context.openStore(), context.args[0]!, {
      follow: options.follow === true,
      tail: readTail(options.tail as string | undefined),
      since: readTime(options.since as string | undefined),
      until: readTime(options.until as string | undefined),
    });
    const lineEnded = { stdout: true, stderr: true };
    for await (const { stream, time, bytes } of entries) {
      const out = stream === 'stdout' ? stdout : stderr;
      if (options.timestamps === true && lineEnded[stream]) out.write(`${time} `);
      lineEnded[stream] = bytes.at(-1) === 10;
      if (!out.write(bytes)) await new Promise<void>((resume) => out.once('drain', () => resume()));
    }
    return 0;
  },
};

function readTail(text: string | undefined): number | undefined {
  if (text === undefined || text === 'all') return undefined;
  if (/^[0-9]+$/.test(text)) return Number(text);
  throw new ImagoError('BAD_FLAG_VALUE', 'invalid value of --tail', { want: "a number or 'all'", got: text });
}

/** Milliseconds since 1970 of an RFC 3339 time, of seconds since 1970, or of an age: 90s, 10m, 1h30m. */
function readTime(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]+(\.[0-9]+)?$/.test(text)) return Number(text) * 1000;
  const age = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?$/.exec(text);
  if (age !== null && text !== '') {
    const [, hours = '0', minutes = '0', seconds = '0'] = age;
    return Date.now() - ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
  }
  const at = Date.parse(text);
  if (!Number.isNaN(at)) return at;
  throw new ImagoError('BAD_FLAG_VALUE', 'invalid time', { want: "'2026-01-02T03:04:05Z' or '10m'", got: text });
}
