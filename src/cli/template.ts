import { callFunction, formatValue, isTrue } from './template-functions.ts';
import { type Expression, parseTemplate, type TemplateNode, templateError } from './template-parse.ts';

/** A parsed template: call it with the value of its dot. */
export type Template = (dot: unknown) => string;

/**
 * Compiles a Go template as Docker users write it for `--format`: fields, variables, pipelines, `if`, `with`, `range`,
 * and Docker's functions (json, upper, lower, title, split, join, pad, truncate, and Go's own).
 * Missing fields are errors, as in `docker inspect`. `headers`: the dot is a row of column headers. Throws `BAD_TEMPLATE` with line and column.
 */
export function compileTemplate(source: string, { headers = false }: { headers?: boolean } = {}): Template {
  const nodes = parseTemplate(source);
  return (dot) => new Evaluation(source, dot, headers).run(nodes, dot);
}

/** In a table's header row these give their value back as it is: `table {{upper .ID}}` keeps "CONTAINER ID". */
const PLAIN_IN_HEADERS: ReadonlySet<string> = new Set(['json', 'title', 'lower', 'upper', 'truncate', 'split', 'join']);

class Evaluation {
  private readonly source: string;
  private readonly headers: boolean;
  private readonly scopes: Map<string, unknown>[];

  constructor(source: string, root: unknown, headers: boolean) {
    this.source = source;
    this.headers = headers;
    this.scopes = [new Map([['$', root]])];
  }

  run(nodes: readonly TemplateNode[], dot: unknown): string {
    let out = '';
    for (const node of nodes) {
      switch (node.kind) {
        case 'text':
          out += node.text;
          break;
        case 'output':
          out += formatValue(this.evaluate(node.value, dot));
          break;
        case 'assign':
          this.assign(node, this.evaluate(node.value, dot));
          break;
        case 'range':
          out += this.range(node, dot);
          break;
        default:
          out += this.branch(node, dot);
      }
    }
    return out;
  }

  private branch(node: TemplateNode & { kind: 'if' | 'with' }, dot: unknown): string {
    const value = this.evaluate(node.value, dot);
    const variables: [string, unknown][] = node.variable === undefined ? [] : [[node.variable, value]];
    if (isTrue(value)) return this.inScope(variables, node.body, node.kind === 'with' ? value : dot);
    return this.inScope(variables, node.otherwise, dot);
  }

  private range(node: TemplateNode & { kind: 'range' }, dot: unknown): string {
    const value = this.evaluate(node.value, dot);
    let entries: [unknown, unknown][];
    if (Array.isArray(value)) entries = value.map((item, i) => [i, item]);
    else if (typeof value === 'number') entries = Array.from({ length: value }, (_, i) => [i, i]);
    else if (value === null || value === undefined) entries = [];
    else if (typeof value === 'object') entries = sortedEntries(value);
    else throw templateError(this.source, node.value.at, `range can't iterate over ${formatValue(value)}`);
    if (entries.length === 0) return this.inScope([], node.otherwise, dot);
    let out = '';
    for (const [key, item] of entries) {
      const [first, second] = node.variables;
      const variables: [string, unknown][] = [];
      if (second !== undefined) variables.push([first!, key], [second, item]);
      else if (first !== undefined) variables.push([first, item]);
      out += this.inScope(variables, node.body, item);
    }
    return out;
  }

  private inScope(variables: [string, unknown][], nodes: readonly TemplateNode[], dot: unknown): string {
    this.scopes.push(new Map(variables));
    const out = this.run(nodes, dot);
    this.scopes.pop();
    return out;
  }

  private assign(node: TemplateNode & { kind: 'assign' }, value: unknown): void {
    const scope = node.declare ? this.scopes.at(-1) : this.scopes.findLast((s) => s.has(node.name));
    if (scope === undefined) throw templateError(this.source, node.at, `undefined variable ${node.name}`);
    scope.set(node.name, value);
  }

  private evaluate(node: Expression, dot: unknown): unknown {
    switch (node.kind) {
      case 'literal':
        return node.value;
      case 'variable': {
        const scope = this.scopes.findLast((s) => s.has(node.name));
        if (scope === undefined) throw templateError(this.source, node.at, `undefined variable ${node.name}`);
        return scope.get(node.name);
      }
      case 'field':
        return this.field(node.from === undefined ? dot : this.evaluate(node.from, dot), node.path, node.at);
      case 'call':
        return this.call(node, dot);
      case 'pipeline':
        return this.pipeline(node, dot);
    }
  }

  private pipeline(node: Expression & { kind: 'pipeline' }, dot: unknown): unknown {
    let value = this.evaluate(node.commands[0]!, dot);
    for (const command of node.commands.slice(1)) {
      if (command.kind !== 'call') throw templateError(this.source, command.at, 'a pipe needs a function after it');
      value = this.call(command, dot, [value]);
    }
    return value;
  }

  private call(node: Expression & { kind: 'call' }, dot: unknown, extra: unknown[] = []): unknown {
    // Go evaluates `and` and `or` only as far as they need.
    if (node.name === 'and' || node.name === 'or') {
      let last: unknown;
      for (const arg of node.args) {
        last = this.evaluate(arg, dot);
        if (isTrue(last) === (node.name === 'or')) return last;
      }
      return extra.length > 0 ? extra[0] : last;
    }
    const args = [...node.args.map((arg) => this.evaluate(arg, dot)), ...extra];
    if (this.headers && PLAIN_IN_HEADERS.has(node.name)) return args[0];
    try {
      return callFunction(node.name, args);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw templateError(this.source, node.at, error.message);
    }
  }

  private field(from: unknown, path: readonly string[], at: number): unknown {
    let value = from;
    for (const name of path) {
      if (value === null || value === undefined) throw templateError(this.source, at, `nil has no field ${name}`);
      if (typeof value !== 'object' || Array.isArray(value) || !(name in value) || name in Object.prototype) {
        const known = typeof value === 'object' && !Array.isArray(value) ? Object.keys(value) : [];
        const list = known.length > 0 ? `; there are ${known.slice(0, 30).join(', ')}` : '';
        throw templateError(this.source, at, `no field ${name}${list}`);
      }
      value = (value as Record<string, unknown>)[name];
    }
    return value;
  }
}

function sortedEntries(value: object): [string, unknown][] {
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}
