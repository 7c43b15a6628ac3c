import { BuildError } from '../build/errors.ts';
import type { DockerfileSource } from '../engine/build-dockerfile.ts';
import { DockerfileError, type LineRange } from '../formats/dockerfile/errors.ts';
import type { Word } from '../formats/dockerfile/position.ts';
import { printLastWords } from './build-output.ts';
import { escapeControls } from './build-output-text.ts';
import { displayWidth } from './display-width.ts';

interface Output {
  write(text: string): unknown;
}

/** Where an error points into the Dockerfile: what the step said last, and the lines around it. */
export function printExcerpt(out: Output, error: unknown, source: () => DockerfileSource | undefined): void {
  if (!(error instanceof BuildError) && !(error instanceof DockerfileError)) return;
  const read = source();
  if (read === undefined) return;
  printLastWords(out, error);
  printSource(out, read, error, error.word);
}

/**
 * Lines of a Dockerfile with those around them, as BuildKit shows them (solver/errdefs/source.go): two around a single
 * line, one around several; and under them a caret for the word that it is about.
 */
export function printSource(out: Output, { name, text }: DockerfileSource, at: LineRange, word?: Word): void {
  const lines = text.split('\n');
  // Line 0: of a step that no Dockerfile has.
  if (at.line > lines.length || at.line === 0) return;
  const around = at.line === at.endLine ? 2 : 1;
  const last = Math.min(lines.length, at.endLine + around);
  out.write(`${name}:${at.line}\n--------------------\n`);
  for (let number = Math.max(1, at.line - around); number <= last; number++) {
    const mark = number >= at.line && number <= at.endLine ? '>>>' : '   ';
    const line = lines[number - 1]!.replace(/\r$/, '');
    out.write(` ${String(number).padStart(3)} | ${mark} ${shown(line)}\n`);
    if (word?.line === number) out.write(`     |     ${caret(line, word)}\n`);
  }
  out.write('--------------------\n');
}

function caret(line: string, { column, length }: Word): string {
  const before = shown(line.slice(0, column - 1)).replace(/[^\t]+/g, (part) => ' '.repeat(displayWidth(part)));
  return before + '^'.repeat(Math.max(1, displayWidth(shown(line.slice(column - 1, column - 1 + length)))));
}

function shown(text: string): string {
  return escapeControls(text).replace(/[\ud800-\udfff]/gu, '\ufffd');
}
