import { readFileSync } from 'node:fs';

let cached: string | undefined;

/** The kernel's random ID of this boot. A record with another one is from before a restart, its processes and mounts gone. */
export function bootId(): string {
  cached ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return cached;
}
