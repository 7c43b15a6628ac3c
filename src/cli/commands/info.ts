import { type FoundProgram, readInfo, type SystemInfo } from '../../engine/info.ts';
import type { Command } from '../command.ts';
import { printValue } from '../format.ts';

export const command: Command = {
  name: 'info',
  summary: 'Show where things are kept, what works here, and how much there is',
  usage: '[OPTIONS]',
  options: {
    format: { type: 'string', short: 'f', help: "Print as 'json' or by a Go template" },
  },
  args: { min: 0, max: 0 },
  async run({ options, stdout, openStore }) {
    const info = await readInfo(openStore());
    if (options.format !== undefined) printValue(stdout, info, options.format as string);
    else stdout.write(linesOf(info).join(''));
    return 0;
  },
};

function linesOf(info: SystemInfo): string[] {
  const line = (name: string, value: string | number): string => `${name}: ${value}\n`;
  return [
    line('Containers', info.Containers),
    line(' Running', info.ContainersRunning),
    line(' Stopped', info.ContainersStopped),
    line('Images', info.Images),
    line('Backend', info.Driver),
    ...info.DriverStatus.map(([name, result]) => line(` ${name}`, result)),
    line('Root', info.Root),
    line('Run', info.Run),
    line('Runtime', shown(info.Runtime)),
    line('Monitor', shown(info.Monitor)),
    line('Cgroup Version', info.CgroupVersion),
    line('Version', info.Version),
    line('Node', info.NodeVersion),
    line('Kernel Version', info.KernelVersion),
    line('Operating System', info.OperatingSystem),
    line('OS/Arch', `${info.Os}/${info.Arch}`),
    line('CPUs', info.NCPU),
    line('Total Memory', `${(info.MemTotal / 2 ** 30).toPrecision(4)}GiB`),
    line('Name', info.Name),
  ];
}

function shown(program: FoundProgram): string {
  return 'Problem' in program ? program.Problem : `${program.Version} (${program.Path})`;
}
