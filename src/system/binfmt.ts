import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** elf(5): e_machine, whether it has 64 bits, whether it is big-endian; by Go's names of architectures. */
const MACHINES: Readonly<Record<string, readonly [machine: number, wide: boolean, big: boolean]>> = {
  '386': [3, false, false],
  amd64: [62, true, false],
  arm: [40, false, false],
  arm64: [183, true, false],
  loong64: [258, true, false],
  mips64: [8, true, true],
  mips64le: [8, true, false],
  ppc64: [21, true, true],
  ppc64le: [21, true, false],
  riscv64: [243, true, false],
  s390x: [22, true, true],
};

/** `fixed`: the kernel holds the interpreter open, so that it runs programs of any root file system (flag F). */
export interface Emulation {
  name: string;
  fixed: boolean;
}

/**
 * What the kernel is told to run programs of another architecture with: Documentation/admin-guide/binfmt-misc.rst.
 * Of several the ones that work in containers come first. Undefined where there is none.
 */
export function findEmulation(architecture: string, directory = '/proc/sys/fs/binfmt_misc'): Emulation | undefined {
  const header = elfHeader(architecture);
  if (header === undefined) return undefined;
  let found: Emulation | undefined;
  for (const name of list(directory)) {
    const text = read(join(directory, name));
    if (!text.startsWith('enabled\n') || !matches(text, header)) continue;
    const fixed = /^flags: .*F/m.test(text);
    if (found === undefined || (fixed && !found.fixed)) found = { name, fixed };
  }
  return found;
}

/** The start of an executable of this architecture. */
function elfHeader(architecture: string): Buffer | undefined {
  const known = MACHINES[architecture];
  if (known === undefined) return undefined;
  const [machine, wide, big] = known;
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, big ? 2 : 1, 1]);
  for (const [at, value] of [
    [16, 2],
    [18, machine],
  ] as const) {
    if (big) header.writeUInt16BE(value, at);
    else header.writeUInt16LE(value, at);
  }
  return header;
}

function matches(text: string, header: Buffer): boolean {
  const offset = Number(/^offset (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  const magic = Buffer.from(/^magic ([0-9a-f]+)$/m.exec(text)?.[1] ?? '', 'hex');
  const mask = Buffer.from(/^mask ([0-9a-f]+)$/m.exec(text)?.[1] ?? '', 'hex');
  if (offset !== 0 || magic.length === 0 || magic.length > header.length) return false;
  return magic.every((byte, i) => ((byte ^ header[i]!) & (mask[i] ?? 0xff)) === 0);
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => name !== 'register' && name !== 'status');
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
