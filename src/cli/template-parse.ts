import { ImagoError } from '../core/errors.ts';

/** An operand or a call inside `{{ }}`. `at` is the offset in the template, for messages. */
export type Expression =
  | { kind: 'literal'; value: unknown; at: number }
  /** `.`, `.A.B`, `$`, `$x.A`, `(pipeline).A`: fields of `from`, by default of the dot. */
  | { kind: 'field'; from?: Expression; path: string[]; at: number }
  | { kind: 'variable'; name: string; at: number }
  | { kind: 'call'; name: string; args: Expression[]; at: number }
  /** Commands joined by `|`: each gets the one before as its last argument. */
  | { kind: 'pipeline'; commands: Expression[]; at: number };

export type TemplateNode =
  | { kind: 'text'; text: string }
  | { kind: 'output'; value: Expression }
  | { kind: 'assign'; name: string; declare: boolean; value: Expression; at: number }
  | { kind: 'if' | 'with'; value: Expression; variable?: string; body: TemplateNode[]; otherwise: TemplateNode[] }
  | { kind: 'range'; value: Expression; variables: string[]; body: TemplateNode[]; otherwise: TemplateNode[] };

/** Thrown for what a template cannot mean; the message has line:column of `at`. */
export function templateError(source: string, at: number, problem: string): ImagoError {
  const before = source.slice(0, at).split('\n');
  const position = `${before.length}:${before[before.length - 1]!.length + 1}`;
  return new ImagoError('BAD_TEMPLATE', `--format, at ${position}: ${problem}`, { exitCode: 1 });
}

type TokenKind = 'field' | 'variable' | 'name' | 'string' | 'number' | 'punctuation';
interface Token {
  kind: TokenKind;
  text: string;
  at: number;
  /** Whitespace or the start of the action stands before it: `$x .A` are two operands, `$x.A` is one. */
  spaced: boolean;
}

/** Go text/template, the part that Docker users write. Names of functions are checked when it is evaluated. */
export function parseTemplate(source: string): TemplateNode[] {
  return new TemplateParser(source).parse();
}

const TOKEN =
  /(?<field>\.[\p{L}_][\p{L}\p{N}_]*)|(?<variable>\$[\p{L}\p{N}_]*)|(?<number>[+-]?[0-9][0-9_]*(?:\.[0-9]+)?)|(?<name>[\p{L}_][\p{L}\p{N}_]*)|(?<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?<punctuation>:=|[=|(),.])/uy;

class TemplateParser {
  private readonly source: string;
  private at = 0;
  private tokens: Token[] = [];
  private next = 0;
  private actionAt = 0;
  /** A trim marker at the end of the last action eats whitespace before the next text. */
  private trimNext = false;

  constructor(source: string) {
    this.source = source;
  }

  parse(): TemplateNode[] {
    const { nodes, stop } = this.parseList();
    if (stop !== undefined) throw this.error(`unexpected {{${stop}}}`, this.actionAt);
    return nodes;
  }

  private parseList(): { nodes: TemplateNode[]; stop?: 'end' | 'else' } {
    const nodes: TemplateNode[] = [];
    while (this.at < this.source.length) {
      const open = this.source.indexOf('{{', this.at);
      let text = this.source.slice(this.at, open < 0 ? undefined : open);
      if (this.trimNext) text = text.trimStart();
      this.trimNext = false;
      if (open < 0) this.at = this.source.length;
      else if (/^\{\{-\s/.test(this.source.slice(open, open + 4))) text = text.trimEnd();
      if (text !== '') nodes.push({ kind: 'text', text });
      if (open < 0) break;
      if (!this.openAction(open)) continue;
      const first = this.tokens[0];
      if (first === undefined) throw this.error('missing value for command', open);
      if (first.kind === 'name' && (first.text === 'end' || first.text === 'else')) {
        this.next = 1;
        return { nodes, stop: first.text };
      }
      nodes.push(this.parseAction(first));
    }
    return { nodes };
  }

  /** Reads one `{{…}}` into `tokens`; false for a comment. */
  private openAction(open: number): boolean {
    this.actionAt = open;
    let at = open + 2;
    if (/^-\s/.test(this.source.slice(at, at + 2))) at += 2;
    if (this.source.startsWith('/*', at)) {
      const end = /\*\/(\s-)?\}\}/g;
      end.lastIndex = at;
      const match = end.exec(this.source);
      if (match === null) throw this.error('unclosed comment', open);
      this.trimNext = match[1] !== undefined;
      this.at = end.lastIndex;
      return false;
    }
    this.tokens = [];
    this.next = 0;
    for (;;) {
      const start = at;
      while (/\s/.test(this.source[at] ?? '')) at++;
      if (this.source.startsWith('}}', at) || (at > start && this.source.startsWith('-}}', at))) break;
      if (at >= this.source.length) throw this.error('unclosed action', open);
      TOKEN.lastIndex = at;
      const match = TOKEN.exec(this.source);
      if (match === null) throw this.error(`unexpected ${JSON.stringify(this.source[at])}`, at);
      const kind = Object.entries(match.groups!).find(([, text]) => text !== undefined)![0] as TokenKind;
      this.tokens.push({ kind, text: match[0], at, spaced: at > start || this.tokens.length === 0 });
      at += match[0].length;
    }
    this.trimNext = this.source[at] === '-';
    this.at = at + (this.trimNext ? 3 : 2);
    return true;
  }

  private parseAction(first: Token): TemplateNode {
    if (first.kind === 'name') {
      if (first.text === 'if' || first.text === 'with' || first.text === 'range') {
        this.next = 1;
        return this.parseBlock(first.text, first.at);
      }
      if (first.text === 'define' || first.text === 'template' || first.text === 'block') {
        throw this.error(`{{${first.text}}} is not supported`, first.at);
      }
    }
    const declared = this.parseVariables();
    if (declared.length > 1) throw this.error('too many variables', first.at);
    const assigns = declared.length === 0 && first.kind === 'variable' && this.tokens[1]?.text === '=';
    if (assigns) this.next = 2;
    const value = this.parsePipeline();
    this.expectEnd();
    const name = assigns ? first.text : declared[0];
    if (name !== undefined) return { kind: 'assign', name, declare: !assigns, value, at: first.at };
    return { kind: 'output', value };
  }

  private parseBlock(kind: 'if' | 'with' | 'range', at: number): TemplateNode {
    const variables = this.parseVariables();
    if (variables.length > (kind === 'range' ? 2 : 1)) throw this.error(`too many variables in ${kind}`, at);
    const value = this.parsePipeline();
    this.expectEnd();
    const { nodes: body, stop } = this.parseList();
    let otherwise: TemplateNode[] = [];
    if (stop === 'else') {
      const chained = this.tokens[1];
      if (chained !== undefined) {
        if (chained.text !== 'if' && chained.text !== 'with')
          throw this.error('unexpected word after else', chained.at);
        this.next = 2;
        otherwise = [this.parseBlock(chained.text, chained.at)];
      } else {
        const rest = this.parseList();
        if (rest.stop === 'else') throw this.error('unexpected {{else}}', this.actionAt);
        if (rest.stop === undefined) throw this.error(`{{${kind}}} has no {{end}}`, at);
        otherwise = rest.nodes;
      }
    } else if (stop === undefined) throw this.error(`{{${kind}}} has no {{end}}`, at);
    if (kind === 'range') return { kind, value, variables, body, otherwise };
    return { kind, value, variable: variables[0], body, otherwise };
  }

  /** `$x :=` or `$i, $v :=`, if it stands here. */
  private parseVariables(): string[] {
    const names: string[] = [];
    let i = this.next;
    while (this.tokens[i]?.kind === 'variable') {
      names.push(this.tokens[i++]!.text);
      const text = this.tokens[i++]?.text;
      if (text === ':=') {
        this.next = i;
        return names;
      }
      if (text !== ',') break;
    }
    return [];
  }

  private parsePipeline(): Expression {
    const at = this.tokens[this.next]?.at ?? this.at;
    const commands = [this.parseCommand()];
    while (this.tokens[this.next]?.text === '|') {
      this.next++;
      commands.push(this.parseCommand());
    }
    return commands.length === 1 ? commands[0]! : { kind: 'pipeline', commands, at };
  }

  private parseCommand(): Expression {
    const first = this.tokens[this.next];
    if (first === undefined) throw this.error('missing value for command', this.actionAt);
    if (first.kind === 'name' && !['true', 'false', 'nil'].includes(first.text)) {
      this.next++;
      const args: Expression[] = [];
      while (this.startsOperand()) args.push(this.parseOperand());
      return { kind: 'call', name: first.text, args, at: first.at };
    }
    const operand = this.parseOperand();
    if (this.startsOperand()) throw this.error("can't give arguments to a value", this.tokens[this.next]!.at);
    return operand;
  }

  private startsOperand(): boolean {
    const token = this.tokens[this.next];
    return token !== undefined && (token.kind !== 'punctuation' || token.text === '(' || token.text === '.');
  }

  private parseOperand(): Expression {
    const token = this.tokens[this.next++]!;
    const base = this.parseAtom(token);
    const path: string[] = [];
    for (;;) {
      const following = this.tokens[this.next];
      if (following?.kind !== 'field' || following.spaced) break;
      path.push(following.text.slice(1));
      this.next++;
    }
    if (path.length === 0) return base;
    if (base.kind === 'field') return { ...base, path: [...base.path, ...path] };
    return { kind: 'field', from: base, path, at: token.at };
  }

  private parseAtom(token: Token): Expression {
    const { kind, text, at } = token;
    if (kind === 'field') return { kind: 'field', path: [text.slice(1)], at };
    if (kind === 'variable') return { kind: 'variable', name: text, at };
    if (kind === 'number') return { kind: 'literal', value: Number(text.replaceAll('_', '')), at };
    if (kind === 'string') return { kind: 'literal', value: this.unquote(text, at), at };
    if (kind === 'name') {
      if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true', at };
      if (text === 'nil') return { kind: 'literal', value: null, at };
      return { kind: 'call', name: text, args: [], at };
    }
    if (text === '.') return { kind: 'field', path: [], at };
    if (text !== '(') throw this.error(`unexpected ${JSON.stringify(text)}`, at);
    const inner = this.parsePipeline();
    if (this.tokens[this.next++]?.text !== ')') throw this.error('unclosed left parenthesis', at);
    return inner;
  }

  private unquote(text: string, at: number): string {
    if (text.startsWith('`')) return text.slice(1, -1);
    try {
      return JSON.parse(text) as string;
    } catch {
      throw this.error(`bad string ${text}`, at);
    }
  }

  private expectEnd(): void {
    const token = this.tokens[this.next];
    if (token !== undefined) throw this.error(`unexpected ${JSON.stringify(token.text)}`, token.at);
  }

  private error(problem: string, at: number): ImagoError {
    return templateError(this.source, at, problem);
  }
}
