/** `# name=value` comments at the very top. Only `escape` changes the parsing; the others are kept for who wants them. */
export interface Directives {
  syntax?: string;
  escape?: string;
  check?: string;
}

export type DirectiveName = keyof Directives;

const NAMES: ReadonlySet<string> = new Set(['syntax', 'escape', 'check']);

/** One line as a directive behind its comment sign; undefined where it is none, and then no line below is one. */
export function readDirective(line: string, sign = '#'): { name: DirectiveName; value: string } | undefined {
  if (!line.startsWith(sign)) return undefined;
  const body = line.slice(sign.length).trim();
  const match = /^([a-zA-Z][a-zA-Z0-9]*)\s*=/.exec(body);
  if (match === null) return undefined;
  const name = match[1]!.toLowerCase();
  const value = body.slice(match[0].length).trim();
  return NAMES.has(name) && value !== '' ? { name: name as DirectiveName, value } : undefined;
}

export interface FoundDirective {
  value: string;
  line: number;
}

/**
 * The `syntax` of any kind of build file, which need not be a Dockerfile: `# syntax=`, `// syntax=`, or a member of a
 * JSON object, below a `#!` line or none. As BuildKit's DetectSyntax.
 */
export function findSyntax(text: string): FoundDirective | undefined {
  const { body, line } = skipHead(text);
  return inComments(body, line, 'syntax', '#') ?? inComments(body, line, 'syntax', '//') ?? inJson(body, line);
}

/** The `check` directive, which may stand below a `#!` line, where the parser itself takes no directive. */
export function findCheck(text: string): FoundDirective | undefined {
  const { body, line } = skipHead(text);
  return inComments(body, line, 'check', '#');
}

function skipHead(text: string): { body: string; line: number } {
  const body = text.startsWith('\ufeff') ? text.slice(1) : text;
  if (!body.startsWith('#!')) return { body, line: 1 };
  const end = body.indexOf('\n');
  return { body: end < 0 ? '' : body.slice(end + 1), line: 2 };
}

function inComments(body: string, first: number, name: DirectiveName, sign: string): FoundDirective | undefined {
  let line = first;
  for (let at = 0; at < body.length; line++) {
    const end = body.indexOf('\n', at);
    const directive = readDirective(body.slice(at, end < 0 ? body.length : end), sign);
    if (directive === undefined) return undefined;
    if (directive.name === name) return { value: directive.value, line };
    at = end < 0 ? body.length : end + 1;
  }
  return undefined;
}

function inJson(body: string, line: number): FoundDirective | undefined {
  if (!body.trimStart().startsWith('{')) return undefined;
  try {
    const { syntax } = JSON.parse(body) as { syntax?: unknown };
    return typeof syntax === 'string' && syntax !== '' ? { value: syntax, line } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether a `syntax` names the language that is read here: the image docker/dockerfile or docker/dockerfile-upstream,
 * any version, at any registry that mirrors it. What follows the first space is for the frontend.
 */
export function isDockerfileSyntax(syntax: string): boolean {
  const [reference = ''] = syntax.trim().split(/\s/, 1);
  return /^(?:.*\/)?docker\/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@[\w.+-]+:[0-9a-fA-F]+)?$/.test(reference);
}
