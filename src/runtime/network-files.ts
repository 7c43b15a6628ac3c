import { readFileSync, writeFileSync } from 'node:fs';
import { hostname as hostName } from 'node:os';
import { join } from 'node:path';
import { bindMount } from './default-mounts.ts';
import type { NetworkMode } from './spec.ts';
import type { SpecMount } from './spec-types.ts';

const LOOPBACK_HOSTS = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** What `hostname` says in the container: the given one, the host's in its network, else the short ID. */
export function containerHostname(id: string, network: NetworkMode, given?: string): string {
  return given ?? (network === 'host' ? hostName() : id.slice(0, 12));
}

/**
 * Writes hosts, hostname and resolv.conf into the bundle, and returns their mounts. In the host's network the host's
 * own files are copied; a container may change its copies. `extraHosts` are NAME:ADDRESS.
 */
export function writeNetworkFiles(
  bundle: string,
  network: NetworkMode,
  hostname: string,
  extraHosts: readonly string[] = [],
): SpecMount[] {
  const hosts = network === 'host' ? readHost('/etc/hosts') : '';
  const files: [name: string, content: string][] = [
    ['resolv.conf', readHost('/etc/resolv.conf')],
    ['hostname', `${hostname}\n`],
    ['hosts', `${hosts.trimEnd() || LOOPBACK_HOSTS.join('\n')}\n${extraHosts.map(hostLine).join('')}`],
  ];
  return files.map(([name, content]) => {
    const path = join(bundle, name);
    writeFileSync(path, content, { mode: 0o644 });
    return bindMount(path, `/etc/${name}`);
  });
}

function hostLine(entry: string): string {
  const colon = entry.indexOf(':');
  return `${entry.slice(colon + 1)}\t${entry.slice(0, colon)}\n`;
}

function readHost(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
