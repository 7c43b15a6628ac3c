import { formatAmount } from './build-output-text.ts';
import { displayWidth, takeWidth } from './display-width.ts';

/** A step as it is shown. Times of performance.now(). */
export interface LiveStep {
  name: string;
  started: number;
  ended: number | undefined;
  cached: boolean;
  failed: boolean;
  canceled: boolean;
  /** By ID. */
  parts: Map<string, LivePart>;
  /** The end of what it said; empty when it has ended. */
  output: string[];
  /** Those of it that are whole lines, as they came. */
  whole?: string[];
}

export interface LivePart {
  started: number;
  ended: number | undefined;
  current: number;
  total: number | undefined;
}

export interface PaintedLine {
  text: string;
  kind: 'head' | 'running' | 'done' | 'failed' | 'canceled' | 'output';
}

/** Under a terminal that is narrower nothing useful fits. */
const NARROWEST = 16;

/** All lines of all steps: what stays on the screen. */
export function finalLines(steps: readonly LiveStep[], now: number, width: number): PaintedLine[] {
  return steps.flatMap((step) => stepLines(step, now, width));
}

/**
 * The lines that fit: what runs first, then the end of its output, then what is done, the latest of it. In the order in
 * which the steps began.
 */
export function layOut(
  steps: readonly LiveStep[],
  now: number,
  { width, height }: { width: number; height: number },
): PaintedLine[] {
  const rows = steps.flatMap((step) => stepLines(step, now, width).map((line) => ({ line, step })));
  const isRunning = ({ line }: { line: PaintedLine }): boolean => line.kind === 'running';
  const running = rows.filter(isRunning).length;
  const talking = steps.filter(({ output }) => output.length > 0);
  let free = Math.max(0, height - running);
  const shown = new Map<LiveStep, number>();
  talking.forEach((step, i) => {
    const share = Math.min(step.output.length, Math.floor(free / (talking.length - i)));
    shown.set(step, share);
    free -= share;
  });
  // Of what has ended the latest, of what runs the latest, should even that not fit.
  let over = Math.max(0, running - height);
  let hidden = Math.max(0, rows.length - running - free);
  const kept = rows.filter((row) => {
    if (isRunning(row)) return over-- <= 0;
    return hidden-- <= 0;
  });
  return kept.flatMap(({ line, step }, i) => {
    const count = shown.get(step) ?? 0;
    const last = kept[i + 1]?.step !== step;
    const output = last && count > 0 ? step.output.slice(-count) : [];
    return [line, ...output.map((text): PaintedLine => ({ text: fit(` => => # ${text}`, '', width), kind: 'output' }))];
  });
}

function stepLines(step: LiveStep, now: number, width: number): PaintedLine[] {
  const { name, started, ended, cached, failed, canceled, parts } = step;
  const word = cached ? 'CACHED ' : failed ? 'ERROR ' : canceled ? 'CANCELED ' : '';
  const kind = failed ? 'failed' : canceled ? 'canceled' : ended === undefined ? 'running' : 'done';
  const lines: PaintedLine[] = [{ text: fit(` => ${word}${name}`, seconds(started, ended ?? now), width), kind }];
  for (const [id, part] of parts) {
    const amount = formatAmount(part.current, part.total);
    const right = `${amount} ${seconds(part.started, part.ended ?? now)}`;
    const done = part.ended !== undefined || ended !== undefined;
    lines.push({ text: fit(` => => ${id}`, right, width), kind: done ? 'done' : 'running' });
  }
  return lines;
}

function seconds(from: number, to: number): string {
  const passed = (to - from) / 1000;
  return ` ${(passed < 0.05 ? 0 : passed).toFixed(1)}s`;
}

/** `right` at the right edge, and as much of `left` as goes before it. */
function fit(left: string, right: string, width: number): string {
  const room = width - right.length;
  if (right === '' || room < NARROWEST) return takeWidth(left, width);
  const text = takeWidth(left, room);
  return text + ' '.repeat(room - displayWidth(text)) + right;
}
