import { DockerfileError } from './errors.ts';
import { findHeredocs, type Heredoc } from './heredoc.ts';
import { parseRaw, type RawInstruction } from './raw.ts';

/** `# name=value` comments at the very top. Only `escape` changes the parsing; the others are kept for who wants them. */
export interface Directives {
  syntax?: string;
  escape?: string;
  check?: string;
}

export interface RawDockerfile {
  directives: Directives;
  escape: string;
  instructions: RawInstruction[];
  /** Empty lines inside of continued instructions, which are deprecated. */
  warnings: { line: number; text: string }[];
}

const DIRECTIVE = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/;
const HEREDOC_INSTRUCTIONS = new Set(['RUN', 'COPY', 'ADD']);

/** Cuts the text into instructions: directives, comments, continuations, heredocs. Throws `DockerfileError`. */
export function splitInstructions(text: string): RawDockerfile {
  return new LineReader(text).read();
}

class LineReader {
  readonly #lines: string[];
  readonly #result: RawDockerfile = { directives: {}, escape: '\\', instructions: [], warnings: [] };
  #at = 0;
  #continuation: RegExp = continuationPattern('\\');

  constructor(text: string) {
    const body = text.startsWith('\ufeff') ? text.slice(1) : text;
    this.#lines = body.split(/(?<=\n)/);
  }

  read(): RawDockerfile {
    this.#readDirectives();
    let comments: string[] = [];
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at]!.trim();
      if (line.startsWith('#')) {
        const comment = line.slice(1).trim();
        comments = comment === '' ? [] : [...comments, comment];
        this.#at++;
      } else if (line === '') this.#at++;
      else {
        this.#readInstruction(comments);
        comments = [];
      }
    }
    if (this.#result.instructions.length === 0) {
      const line = Math.max(1, this.#at);
      throw new DockerfileError('file with no instructions', { line, endLine: line });
    }
    return this.#result;
  }

  #readDirectives(): void {
    for (; this.#at < this.#lines.length; this.#at++) {
      const match = DIRECTIVE.exec(this.#lines[this.#at]!.trim());
      const name = match?.[1]?.toLowerCase();
      if (name !== 'syntax' && name !== 'escape' && name !== 'check') return;
      const at = { line: this.#at + 1, endLine: this.#at + 1 };
      if (this.#result.directives[name] !== undefined) {
        throw new DockerfileError(`only one ${name} parser directive can be used`, at);
      }
      const value = match![2]!;
      this.#result.directives[name] = value;
      if (name !== 'escape') continue;
      if (value !== '\\' && value !== '`') {
        throw new DockerfileError(`invalid escape token '${value}' does not match \` or \\`, at);
      }
      this.#result.escape = value;
      this.#continuation = continuationPattern(value);
    }
  }

  #readInstruction(comments: string[]): void {
    const startLine = this.#at + 1;
    let emptyLine = false;
    let line = chomp(this.#lines[this.#at++]!).trimStart();
    let more = this.#continuation.test(line);
    let text = line.replace(this.#continuation, '$1');
    if (text === '' && !more) return;
    while (more && this.#at < this.#lines.length) {
      line = chomp(this.#lines[this.#at++]!);
      const trimmed = line.trimStart();
      if (trimmed.startsWith('#')) continue;
      if (trimmed === '') {
        emptyLine = true;
        continue;
      }
      more = this.#continuation.test(line);
      text += line.replace(this.#continuation, '$1');
    }
    const at = { line: startLine, endLine: this.#at };
    if (emptyLine) this.#result.warnings.push({ line: startLine, text: `Empty continuation line found in: ${text}` });
    // A lone continuation at the end of the file.
    if (text.trim() === '') return;
    const instruction = parseRaw(text, this.#result.escape, at, comments);
    const inner = instruction.trigger ?? instruction;
    if (HEREDOC_INSTRUCTIONS.has(inner.name) && !inner.json && text.includes('<<')) {
      instruction.heredocs = findHeredocs(text).map((doc) => this.#readHeredoc(doc, at));
      instruction.endLine = this.#at;
      if (instruction.trigger !== undefined) instruction.trigger.heredocs = instruction.heredocs;
    }
    this.#result.instructions.push(instruction);
  }

  #readHeredoc(doc: Heredoc, at: { line: number; endLine: number }): Heredoc {
    let content = '';
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at++]!;
      const bare = chomp(line);
      if ((doc.chomp ? bare.replace(/^\t+/, '') : bare) === doc.name) return { ...doc, content };
      content += line;
    }
    throw new DockerfileError(`unterminated heredoc: the line ${JSON.stringify(doc.name)} that ends it is missing`, at);
  }
}

/** The escape character as a line's last, spaces aside, unless another one stands before it. */
function continuationPattern(escapeChar: string): RegExp {
  const e = escapeChar === '\\' ? '\\\\' : escapeChar;
  return new RegExp(`([^${e}])${e}[ \\t]*$|^${e}[ \\t]*$`);
}

function chomp(line: string): string {
  return line.replace(/[\r\n]+$/, '');
}
