import type { SpecMount } from './spec-types.ts';

const SHARED_MEMORY = '64m';

/** Docker's (moby, oci/defaults.go), with a private cgroup namespace. */
export function defaultMounts(): SpecMount[] {
  const sealed = ['nosuid', 'noexec', 'nodev'];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: sealed },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...sealed, 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...sealed, 'ro'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: sealed },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...sealed, 'mode=1777', `size=${SHARED_MEMORY}`],
    },
  ];
}

/** A bind mount of a file or directory of the host, with everything mounted below it. */
export function bindMount(source: string, destination: string, options: readonly string[] = []): SpecMount {
  const propagation = options.some((option) => /^r?(shared|slave|private)$/.test(option)) ? [] : ['rprivate'];
  return { destination, type: 'bind', source, options: ['rbind', ...propagation, ...options] };
}

/** Not for programs or devices, unless the options say so. */
export function tmpfsMount(destination: string, options: readonly string[]): SpecMount {
  return { destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', ...options] };
}
