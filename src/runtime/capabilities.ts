import { ImagoError } from '../core/errors.ts';

/** What Docker leaves to root in a container (moby, oci/caps/defaults.go). */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

/** By their numbers, linux/capability.h (Linux 5.9 and later have all of them). */
const ALL_CAPABILITIES: readonly string[] = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

export interface CapabilityChoice {
  /** Names with or without CAP_, in any case, or ALL. */
  add?: readonly string[];
  drop?: readonly string[];
}

/**
 * Docker's rules: the defaults, or none with `--cap-drop ALL`, or all with `--cap-add ALL`; then what is dropped and
 * what is added by name. Sorted by number. Throws `BAD_CAPABILITY`.
 */
export function selectCapabilities(choice: CapabilityChoice = {}): string[] {
  const add = (choice.add ?? []).map(capabilityName);
  const drop = (choice.drop ?? []).map(capabilityName);
  const base = add.includes('ALL') ? ALL_CAPABILITIES : drop.includes('ALL') ? [] : DEFAULT_CAPABILITIES;
  const out = new Set(base.filter((name) => !drop.includes(name)));
  for (const name of add) if (name !== 'ALL') out.add(name);
  return ALL_CAPABILITIES.filter((name) => out.has(name));
}

/** Those of `wanted` that this process could pass on; `status` is the text of /proc/self/status. */
export function grantableCapabilities(wanted: readonly string[], status: string): string[] {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return wanted.filter((name) => (mask >> BigInt(ALL_CAPABILITIES.indexOf(name))) & 1n);
}

function capabilityName(text: string): string {
  const upper = text.toUpperCase();
  if (upper === 'ALL') return upper;
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (ALL_CAPABILITIES.includes(name)) return name;
  throw new ImagoError('BAD_CAPABILITY', 'unknown capability', {
    got: text,
    remedy: 'capabilities(7) lists them, for example NET_ADMIN',
    exitCode: 125,
  });
}
