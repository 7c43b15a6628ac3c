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
    // As Docker: as much swap again, where the kernel counts it (a switch of cgroup v1).
    if (existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes')) out.memorySwap = out.memory * 2;
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

/** Bytes of '200m', '1.5g', '1048576'. Throws `BAD_LIMIT`. */
export function parseMemory(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*([bkmgt])?(?:i?b)?$/i.exec(text);
  const bytes = match === null ? Number.NaN : Math.trunc(Number(match[1]) * UNITS[(match[2] ?? 'b').toLowerCase()]!);
  if (Number.isNaN(bytes)) throw badLimit('memory', text, "a size like '200m' or '1g'");
  if (bytes < MIN_MEMORY) throw badLimit('memory', text, 'at least 6m');
  return bytes;
}

function badLimit(option: string, got: string, want: string): ImagoError {
  return new ImagoError('BAD_LIMIT', `invalid value of --${option}`, { want, got, exitCode: 125 });
}
