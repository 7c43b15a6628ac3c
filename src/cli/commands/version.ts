import { readVersions } from '../../engine/versions.ts';
import type { Command } from '../command.ts';
import { printValue } from '../format.ts';

export const command: Command = {
  name: 'version',
  summary: 'Show the versions of Imago and of what it runs on',
  usage: '[OPTIONS]',
  options: {
    format: { type: 'string', short: 'f', help: "Print as 'json' or by a Go template" },
  },
  args: { min: 0, max: 0 },
  complete: 'none',
  run({ options, stdout }) {
    const versions = readVersions();
    if (options.format !== undefined) {
      printValue(stdout, versions, options.format as string);
      return 0;
    }
    const lines = [
      ['Version', versions.Version],
      ['Node', versions.NodeVersion],
      ['OS/Arch', `${versions.Os}/${versions.Arch}`],
      ['Kernel', versions.KernelVersion],
    ];
    stdout.write(`Imago:\n${lines.map(([name, value]) => ` ${`${name}:`.padEnd(11)}${value}\n`).join('')}`);
    return 0;
  },
};
