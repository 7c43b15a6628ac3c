import { existsSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import type { ResourceOptions } from './spec.ts';

/** Docker's: below it no container gets far enough to say why it failed. */
const MIN_MEMORY = 6 * 1024 * 1024;
const UNITS: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** What `--memory`, `--cpus` and `--pids-limit` say. Throws `BAD_LIMIT`. */
export function parseResources(text: { memory?: string; cpus?: string; pidsLimit?: string }): ResourceOptions {
  const out: ResourceOptions = {};
  if (text.memory !== undefined && text.memory !== '0') {
    out.memory = parseMemory(text.memory);
    // As Docker: as much swap again, where the kernel counts it.
    if (countsSwap()) out.memorySwap = out.memory * 2;
  }
  if (text.cpus !== undefined) {
    const cpus = Number(text.cpus);
    if (!(cpus >= 0.01) || !Number.isFinite(cpus)) throw badLimit('cpus', text.cpus, 'at least 0.01');
    out.cpus = cpus;
  }
  if (text.pidsLimit !== undefined) {
    const limit = Number(text.pidsLimit);
    if (!Number.isInteger(limit) || limit < -1) throw badLimit('pids-limit', text.pidsLimit, 'a number, or -1');
    if (limit !== 0) out.pidsLimit = limit;
  }
  return out;
}

/** A switch of cgroup v1. */
function countsSwap(): boolean {
  return existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes');
}

/** What `build --resource KEY=VALUE` may limit, by docker buildx's keys (docs/reference/buildx_build.md). */
export const RESOURCES = [
  'memory',
  'memory-swap',
  'cpu-shares',
  'cpu-period',
  'cpu-quota',
  'cpuset-cpus',
  'cpuset-mems',
] as const;

/** Several of them, the last of each key. As in buildx, 0 is no limit, and memory says nothing of swap. Throws `BAD_LIMIT`. */
export function parseResourceLimits(entries: readonly string[]): ResourceOptions {
  const out: ResourceOptions = {};
  for (const entry of entries) {
    const equals = entry.indexOf('=');
    const key = entry.slice(0, Math.max(equals, 0)).trim();
    const known = RESOURCES.find((name) => name === key);
    if (known === undefined) throw badLimit('resource', entry, `KEY=VALUE, KEY one of ${RESOURCES.join(', ')}`);
    setLimit(out, known, entry.slice(equals + 1).trim());
  }
  const { memory, memorySwap } = out;
  if (memory !== undefined && memorySwap !== undefined && memorySwap >= 0 && memorySwap < memory) {
    throw badLimit('memory-swap', String(memorySwap), `at least the limit of memory, ${memory}`);
  }
  if (countsSwap() || existsSync('/sys/fs/cgroup/cgroup.controllers')) return out;
  delete out.memorySwap;
  return out;
}

function setLimit(out: ResourceOptions, key: (typeof RESOURCES)[number], text: string): void {
  switch (key) {
    case 'memory':
      out.memory = text === '0' ? undefined : parseMemory(text);
      return;
    case 'memory-swap':
      out.memorySwap = text === '0' ? undefined : text === '-1' ? -1 : parseMemory(text, key);
      return;
    case 'cpu-shares':
      out.cpuShares = parseCount(key, text);
      return;
    case 'cpu-period':
      out.cpuPeriod = parseCount(key, text);
      return;
    case 'cpu-quota':
      out.cpuQuota = parseCount(key, text);
      return;
    case 'cpuset-cpus':
      out.cpusetCpus = parseSet(key, text);
      return;
    case 'cpuset-mems':
      out.cpusetMems = parseSet(key, text);
  }
}

function parseCount(key: string, text: string): number | undefined {
  if (!/^-?[0-9]{1,15}$/.test(text)) throw badLimit(key, text, 'a whole number');
  return Number(text) > 0 ? Number(text) : undefined;
}

function parseSet(key: string, text: string): string | undefined {
  if (text === '') return undefined;
  if (/^[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*$/.test(text)) return text;
  throw badLimit(key, text, "numbers and ranges, as '0-3,5'");
}

/** Bytes of '200m', '1.5g', '1048576'. Throws `BAD_LIMIT`. */
export function parseMemory(text: string, option = 'memory'): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*([bkmgt])?(?:i?b)?$/i.exec(text);
  const bytes = match === null ? Number.NaN : Math.trunc(Number(match[1]) * UNITS[(match[2] ?? 'b').toLowerCase()]!);
  if (Number.isNaN(bytes)) throw badLimit(option, text, "a size like '200m' or '1g'");
  if (bytes < MIN_MEMORY) throw badLimit(option, text, 'at least 6m');
  return bytes;
}

function badLimit(option: string, got: string, want: string): ImagoError {
  return new ImagoError('BAD_LIMIT', `invalid value of --${option}`, { want, got, exitCode: 125 });
}
