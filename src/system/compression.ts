import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { ImagoError } from '../core/errors.ts';

export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

/** Bytes that `detectCompression` needs to see. */
export const MAGIC_LENGTH = 6;

/**
 * By magic number: gzip RFC 1952 §2.3.1, zstd RFC 8878 §3.1.1 and its skippable frames §3.1.2, bzip2 "BZh", xz file
 * format 1.2.1 §2.1.1.1. Anything else counts as plain.
 */
export function detectCompression(head: Uint8Array): Compression {
  const [a, b, c, d, e, f] = head;
  if (a === 0x1f && b === 0x8b) return 'gzip';
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  if (a !== undefined && a >> 4 === 5 && b === 0x2a && c === 0x4d && d === 0x18) return 'zstd';
  if (a === 0x42 && b === 0x5a && c === 0x68 && d !== undefined && d >= 0x31 && d <= 0x39) return 'bzip2';
  if (a === 0xfd && b === 0x37 && c === 0x7a && d === 0x58 && e === 0x5a && f === 0) return 'xz';
  return 'none';
}

const TOOLS = { bzip2: 'bzip2', xz: 'xz-utils' } as const;

/**
 * Inflates by the tool of that name, for the compressions that Node has none for. Throws `TOOL_MISSING` (naming the
 * Debian package) and `CORRUPT_COMPRESSED`.
 */
export async function* decompressByTool(
  source: AsyncIterable<Uint8Array>,
  tool: 'bzip2' | 'xz',
): AsyncGenerator<Uint8Array, void, undefined> {
  const child = spawn(tool, ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] });
  try {
    await once(child, 'spawn');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'not installed' : `cannot be run (${code})`;
    throw new ImagoError('TOOL_MISSING', `${tool} is needed to unpack this archive, and ${why}`, {
      remedy: `install it with 'apt-get install ${TOOLS[tool]}'`,
    });
  }
  let complaint = '';
  child.stderr.on('data', (text: Buffer) => {
    if (complaint.length < 1000) complaint += text.toString();
  });
  const ended = new Promise<number>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
  });
  const fed = feed(child.stdin, source);
  // Awaited below; until then a failure must not count as unhandled.
  fed.catch(() => {});
  try {
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) yield chunk;
    const code = await ended;
    await fed;
    if (code !== 0) throw corrupt(tool, firstLine(complaint) || `${tool} exited with ${code}`);
  } finally {
    if (child.exitCode === null) child.kill('SIGKILL');
  }
}

/** bzip2 goes on with advice; it ends its sentences, and what follows here begins with a colon. */
function firstLine(complaint: string): string {
  return complaint.trim().split('\n')[0]!.replace(/[.;]$/, '');
}

/** Fails only where the source does: a tool that gave up closes the pipe, and its exit status tells why. */
async function feed(stdin: NodeJS.WritableStream, source: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    await pipeline(source, stdin);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPIPE' && code !== 'ECONNRESET' && code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  }
}

export function corrupt(kind: string, message: string, offset?: number): ImagoError {
  return new ImagoError('CORRUPT_COMPRESSED', `the ${kind} data is damaged: ${message}`, {
    offset,
    remedy: 'get the archive again from where it came',
  });
}
