import { findSyntax, isDockerfileSyntax } from '../../formats/dockerfile/directives.ts';
import { DockerfileError } from '../../formats/dockerfile/errors.ts';

/**
 * Images of frontends are not run: a `syntax` that names another language than Dockerfile's is an error, since its file
 * may mean anything. BUILDKIT_SYNTAX counts before the file's own. Throws `DockerfileError`.
 */
export function checkFrontend(text: string, buildArgs: ReadonlyMap<string, string>): void {
  const given = buildArgs.get('BUILDKIT_SYNTAX');
  const own = findSyntax(text);
  const syntax = given ?? own?.value;
  if (syntax === undefined || isDockerfileSyntax(syntax)) return;
  const line = own?.line ?? 1;
  const [name = ''] = syntax.trim().split(/\s/, 1);
  const where = given === undefined ? `syntax ${name}` : `BUILDKIT_SYNTAX=${name}`;
  const problem = `${where} names another frontend than docker/dockerfile, and imago runs none: to read the file as a Dockerfile, take the line away, or add --build-arg BUILDKIT_SYNTAX=docker/dockerfile:1`;
  const column = given === undefined ? (text.split('\n', line)[line - 1] ?? '').indexOf(name) + 1 : 0;
  const word = column > 0 ? { line, column, length: name.length } : undefined;
  throw new DockerfileError(problem, { line, endLine: line }, undefined, word);
}
