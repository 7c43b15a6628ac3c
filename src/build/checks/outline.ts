import type { LineRange } from '../../formats/dockerfile/errors.ts';

export interface OutlineArg extends LineRange {
  name: string;
  description: string;
  value: string;
  /** Variables that its default is made of. */
  uses: ReadonlySet<string>;
}

export interface OutlineSecret extends LineRange {
  name: string;
  required: boolean;
}

/** What a build of a target can be given: `--call=outline`. */
export interface Outline {
  name: string;
  description: string;
  args: OutlineArg[];
  secrets: OutlineSecret[];
  ssh: OutlineSecret[];
}

/** What one stage can be given, and the stages that it is made of. */
export class StageOutline {
  readonly args: Map<string, OutlineArg>;
  readonly used: Set<string>;
  readonly secrets: Map<string, OutlineSecret> = new Map();
  readonly ssh: Map<string, OutlineSecret> = new Map();
  readonly needs: Set<StageOutline> = new Set();

  constructor(args: ReadonlyMap<string, OutlineArg> = new Map(), used: Iterable<string> = []) {
    this.args = new Map(args);
    this.used = new Set(used);
  }

  collect(name: string, description: string): Outline {
    const args = new Map<string, OutlineArg>();
    const secrets = new Map<string, OutlineSecret>();
    const ssh = new Map<string, OutlineSecret>();
    for (const stage of this.#all()) {
      for (const arg of stage.#usedArgs()) if (!args.has(arg.name)) args.set(arg.name, arg);
      for (const [id, secret] of stage.secrets) if (!secrets.has(id)) secrets.set(id, secret);
      for (const [id, agent] of stage.ssh) if (!ssh.has(id)) ssh.set(id, agent);
    }
    return { name, description, args: byLine(args), secrets: byLine(secrets), ssh: byLine(ssh) };
  }

  /** This one, then what it needs, each once. */
  #all(seen: Set<StageOutline> = new Set()): Set<StageOutline> {
    const open: StageOutline[] = [this];
    for (let stage = open.pop(); stage !== undefined; stage = open.pop()) {
      if (seen.has(stage)) continue;
      seen.add(stage);
      open.push(...[...stage.needs].reverse());
    }
    return seen;
  }

  #usedArgs(): OutlineArg[] {
    const open = [...this.used];
    const seen = new Set<string>();
    const out: OutlineArg[] = [];
    for (let name = open.shift(); name !== undefined; name = open.shift()) {
      if (seen.has(name)) continue;
      seen.add(name);
      const arg = this.args.get(name);
      if (arg === undefined) continue;
      out.push(arg);
      open.push(...arg.uses);
    }
    return out;
  }
}

function byLine<T extends LineRange>(items: ReadonlyMap<string, T>): T[] {
  return [...items.values()].sort((a, b) => a.line - b.line);
}

/** What a comment right above an ARG or a FROM says of it: `# NAME text`. */
export function describe(comments: readonly string[], name: string): string {
  if (name === '') return '';
  const line = comments.find((comment) => comment.startsWith(`${name} `));
  return line === undefined ? '' : line.slice(name.length + 1);
}
