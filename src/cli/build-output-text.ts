import { formatSize } from '../core/sizes.ts';

export function oneLine(text: string): string {
  return escapeControls(text.replace(/\s+/g, ' '));
}

/** A line that overwrites itself with carriage returns shows how it ended. */
export function lastState(line: string): string {
  return escapeControls(line.replace(/\r+$/, '').replace(/^[\s\S]*\r/, ''));
}

/** Output of a step must not steer the user's terminal; tabs and colours may stay. */
export function escapeControls(text: string): string {
  return text.replace(/\x1b\[[0-9;]*m|[\x00-\x08\x0a-\x1f\x7f-\x9f]/g, (c) =>
    c.length > 1 ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** As BuildKit: the more seconds, the fewer decimals. */
export function formatSeconds(seconds: number): string {
  return seconds.toFixed(seconds < 10 ? 3 : seconds < 100 ? 2 : 1);
}

export function formatAmount(current: number, total: number | undefined): string {
  if (total !== undefined && total > 0) return ` ${formatSize(current)} / ${formatSize(total)}`;
  return current > 0 ? ` ${formatSize(current)}` : '';
}

/** Bytes that are held back of a line that does not end. */
const LONGEST_LINE = 1 << 16;

/** Makes lines of a step's output, each stream on its own; decoding waits for whole lines, so no character is cut. */
export class LineSplitter {
  readonly #rest: Map<string, { parts: Buffer[]; size: number }> = new Map();

  push(stream: string, data: Uint8Array): string[] {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const rest = this.#rest.get(stream) ?? { parts: [], size: 0 };
    this.#rest.set(stream, rest);
    const end = bytes.lastIndexOf(10);
    if (end < 0 && rest.size + bytes.length < LONGEST_LINE) {
      rest.parts.push(Buffer.from(bytes));
      rest.size += bytes.length;
      return [];
    }
    const cut = end < 0 ? bytes.length : end;
    const text = Buffer.concat([...rest.parts, bytes.subarray(0, cut)]).toString();
    const left = Buffer.from(bytes.subarray(cut + 1));
    this.#rest.set(stream, { parts: [left], size: left.length });
    return text.split('\n');
  }

  /** What has no end of line yet, without forgetting it. */
  peek(): string[] {
    return [...this.#rest.values()].map(({ parts }) => Buffer.concat(parts).toString()).filter((line) => line !== '');
  }

  /** The same, and forgets it: the output has ended. */
  end(): string[] {
    const lines = this.peek();
    this.#rest.clear();
    return lines;
  }
}
