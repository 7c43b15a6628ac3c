import { type Directives, readDirective } from './directives.ts';
import { DockerfileError, type LineRange } from './errors.ts';
import { findHeredocs, type Heredoc } from './heredoc.ts';
import type { Segment } from './position.ts';
import { parseRaw, type RawInstruction } from './raw.ts';

export interface RawDockerfile {
  directives: Directives;
  escape: string;
  instructions: RawInstruction[];
}

const HEREDOC_INSTRUCTIONS = new Set(['RUN', 'COPY', 'ADD']);

/** Cuts the text into instructions: directives, comments, continuations, heredocs. Throws `DockerfileError`. */
export function splitInstructions(text: string): RawDockerfile {
  const { file, failure } = readInstructions(text);
  if (failure !== undefined) throw failure;
  return file;
}

/** Like `splitInstructions`, but where a line is wrong what stands above it comes beside the error. */
export function readInstructions(text: string): { file: RawDockerfile; failure?: DockerfileError } {
  const reader = new LineReader(text);
  try {
    reader.read();
    return { file: reader.result };
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error;
    return { file: reader.result, failure: error };
  }
}

class LineReader {
  readonly result: RawDockerfile = { directives: {}, escape: '\\', instructions: [] };
  readonly #lines: string[];
  #at = 0;

  constructor(text: string) {
    const body = text.startsWith('\ufeff') ? text.slice(1) : text;
    this.#lines = body.split(/(?<=\n)/);
  }

  read(): void {
    this.#readDirectives();
    let comments: string[] = [];
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at]!.trim();
      if (line.startsWith('#')) {
        const comment = line.slice(1).trim();
        if (comment === '') comments = [];
        else comments.push(comment);
        this.#at++;
      } else if (line === '') this.#at++;
      else {
        this.#readInstruction(comments);
        comments = [];
      }
    }
    if (this.result.instructions.length > 0) return;
    const line = Math.max(1, this.#at);
    throw new DockerfileError('file with no instructions: wanted FROM', { line, endLine: line });
  }

  #readDirectives(): void {
    for (; this.#at < this.#lines.length; this.#at++) {
      const text = this.#lines[this.#at]!;
      const directive = readDirective(text.trim());
      if (directive === undefined) return;
      const { name, value } = directive;
      const line = this.#at + 1;
      const place = (word: string) => ({ line, column: text.indexOf(word) + 1, length: word.length });
      if (this.result.directives[name] !== undefined) {
        throw new DockerfileError(
          `only one ${name} parser directive can be used`,
          { line, endLine: line },
          undefined,
          place(text.trim()),
        );
      }
      this.result.directives[name] = value;
      if (name !== 'escape') continue;
      if (value !== '\\' && value !== '`') {
        throw new DockerfileError(
          `invalid escape token '${value}' does not match \` or \\`,
          { line, endLine: line },
          undefined,
          place(value),
        );
      }
      this.result.escape = value;
    }
  }

  #readInstruction(comments: string[]): void {
    const startLine = this.#at + 1;
    const segments: Segment[] = [];
    let emptyLine = false;
    let text = '';
    for (let more = true; more && this.#at < this.#lines.length; ) {
      const number = this.#at + 1;
      const line = chomp(this.#lines[this.#at++]!);
      const trimmed = line.trimStart();
      const first = number === startLine;
      if (!first && trimmed.startsWith('#')) continue;
      if (!first && trimmed === '') {
        emptyLine = true;
        continue;
      }
      // Blanks in front of a continued line are part of the instruction.
      const part = first ? trimmed : line;
      segments.push({ at: text.length, line: number, column: line.length - part.length + 1 });
      const cut = continuationAt(part, this.result.escape);
      more = cut !== undefined;
      text += part.slice(0, cut);
    }
    const at = { line: startLine, endLine: this.#at };
    if (text.trim() === '') throw new DockerfileError('nothing but a continued line: wanted an instruction', at);
    checkCharacters(text, at, segments);
    const instruction = parseRaw(text, this.result.escape, at, { comments, segments });
    if (emptyLine) instruction.emptyLine = at.endLine;
    const inner = instruction.trigger ?? instruction;
    if (HEREDOC_INSTRUCTIONS.has(inner.name) && !inner.json && text.includes('<<')) {
      instruction.heredocs = findHeredocs(text).map((doc) => this.#readHeredoc(doc, at));
      instruction.endLine = this.#at;
      if (instruction.trigger !== undefined) instruction.trigger.heredocs = instruction.heredocs;
    }
    this.result.instructions.push(instruction);
  }

  #readHeredoc(doc: Heredoc, at: LineRange): Heredoc {
    const start = this.#at;
    while (this.#at < this.#lines.length) {
      const bare = chomp(this.#lines[this.#at++]!);
      if ((doc.chomp ? bare.replace(/^\t+/, '') : bare) !== doc.name) continue;
      const content = this.#lines.slice(start, this.#at - 1).join('');
      if (!content.isWellFormed()) checkEncoding(this.#lines, start, this.#at - 1);
      return { ...doc, content };
    }
    throw new DockerfileError(`unterminated heredoc: the line ${JSON.stringify(doc.name)} that ends it is missing`, at);
  }
}

/**
 * Where the escape character that continues a line stands: the last but spaces and tabs, unless another one stands
 * before it. Undefined where the line is not continued.
 */
function continuationAt(line: string, escapeChar: string): number | undefined {
  let end = line.length;
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--;
  return line[end - 1] === escapeChar && line[end - 2] !== escapeChar ? end - 1 : undefined;
}

/** Neither belongs into a command line or an image's config, and both would change silently on the way there. */
function checkCharacters(source: string, at: LineRange, segments: readonly Segment[]): void {
  const wrong = source.isWellFormed() ? source.indexOf('\0') : loneSurrogate(source);
  if (wrong < 0) return;
  const problem = source[wrong] === '\0' ? 'a NUL byte in an instruction' : 'not UTF-8: save the file as UTF-8';
  const segment = segments.findLast((candidate) => candidate.at <= wrong)!;
  const word = { line: segment.line, column: segment.column + wrong - segment.at, length: 1 };
  throw new DockerfileError(problem, at, undefined, word);
}

function checkEncoding(lines: readonly string[], from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const at = loneSurrogate(lines[i]!);
    if (at < 0) continue;
    const line = i + 1;
    const problem = 'not UTF-8: save the file as UTF-8';
    throw new DockerfileError(problem, { line, endLine: line }, undefined, { line, column: at + 1, length: 1 });
  }
}

/** Bytes that are no UTF-8 come as these (`decodeDockerfile`). */
function loneSurrogate(text: string): number {
  return text.search(/[\ud800-\udfff]/u);
}

function chomp(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === '\n' || line[end - 1] === '\r')) end--;
  return end === line.length ? line : line.slice(0, end);
}
