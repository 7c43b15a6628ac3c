import { ImagoError } from '../../core/errors.ts';
import type { AddInstruction, CopyInstruction } from '../../formats/dockerfile/instruction.ts';
import type { GitSource } from '../../system/git-url.ts';
import { parseRemote, type RepositorySource, redactUrls, type UrlSource } from '../remote/url.ts';
import { parseChmod } from './chmod.ts';

/** An operand of the build context, or of what --from names. */
export interface PathSource {
  readonly kind: 'path';
  readonly path: string;
}

export type CopySource = PathSource | UrlSource | RepositorySource;

/** COPY or ADD, its variables expanded. */
export interface PreparedCopy {
  instruction: CopyInstruction | AddInstruction;
  sources: CopySource[];
  /** As written but for passwords, for the history. */
  shownSources: string[];
  inline: { name: string; content: string }[];
  /** As written, for the history. */
  dest: string;
  chown: string | undefined;
  chmod: string | undefined;
  exclude: string[];
  checksum: string | undefined;
  parents: boolean;
  /** The layer does not depend on those below it. */
  link: boolean;
}

export interface Expander {
  word(text: string): string;
  /** Of a heredoc: quotes mean nothing. */
  body(text: string): string;
}

/** Throws `BAD_SOURCE`, `BAD_FLAG_VALUE`, `BAD_CHMOD`, and what expanding throws. */
export function prepareCopy(instruction: CopyInstruction | AddInstruction, expand: Expander): PreparedCopy {
  const words = instruction.sources.map(expand.word);
  const optional = (text: string | undefined): string | undefined =>
    text === undefined ? undefined : expand.word(text) || undefined;
  const chmod = optional(instruction.chmod);
  if (chmod !== undefined) parseChmod(chmod);
  const checksum = instruction.name === 'ADD' ? optional(instruction.checksum) : undefined;
  const sources = words.map((word) => parseSource(instruction, word));
  if (checksum !== undefined) checkChecksum(sources, checksum);
  return {
    instruction,
    sources,
    shownSources: words.map(redactUrls),
    inline: instruction.inline.map(({ name, content, expand: on }) => ({
      name,
      content: on ? expand.body(content) : content,
    })),
    dest: expand.word(instruction.dest),
    chown: optional(instruction.chown),
    chmod,
    exclude: instruction.exclude.map(expand.word),
    checksum,
    parents: instruction.name === 'COPY' && instruction.parents,
    // As BuildKit: with --chmod it is an ordinary copy.
    link: instruction.link && chmod === undefined,
  };
}

function parseSource(instruction: CopyInstruction | AddInstruction, word: string): CopySource {
  const remote = parseRemote(word);
  if (remote === undefined) return { kind: 'path', path: word };
  if (instruction.name === 'COPY') {
    const what = remote.kind === 'git' ? 'a git ref' : 'a URL';
    throw new ImagoError('BAD_SOURCE', `source can't be ${what} for COPY: ${redactUrls(word)}`, {
      remedy: 'ADD takes such sources',
    });
  }
  return remote.kind === 'url' ? remote : { kind: 'git', git: withFlags(instruction, remote.git) };
}

/** Flags and the URL's own query must say the same. */
function withFlags({ keepGitDir }: AddInstruction, git: GitSource): GitSource {
  if (git.keepGitDir !== undefined && keepGitDir !== undefined && git.keepGitDir !== keepGitDir) {
    throw new ImagoError('BAD_FLAG_VALUE', 'inconsistent keep-git-dir configuration', {
      want: `--keep-git-dir=${git.keepGitDir}`,
      got: `--keep-git-dir=${keepGitDir}`,
    });
  }
  return { ...git, keepGitDir: keepGitDir ?? git.keepGitDir };
}

/** BuildKit's rules, in its words. */
function checkChecksum(sources: readonly CopySource[], checksum: string): void {
  if (sources.length !== 1) throw badChecksum("checksum can't be specified for multiple sources");
  const source = sources[0]!;
  if (source.kind === 'path') throw badChecksum('checksum requires HTTP(S) or Git sources');
  if (source.kind === 'url' && !/^sha256:[0-9a-f]{64}$/.test(checksum)) {
    throw badChecksum('invalid checksum digest format', 'sha256:<64 hexadecimal digits>', checksum);
  }
  if (source.kind === 'git' && !/^[0-9a-f]{1,64}$/.test(checksum)) {
    throw badChecksum(`invalid checksum ${checksum}, expected hex commit hash`);
  }
  if (source.kind === 'git' && source.git.checksum !== undefined && source.git.checksum !== checksum) {
    throw badChecksum(`checksum mismatch "${checksum}" != "${source.git.checksum}"`);
  }
}

function badChecksum(summary: string, want?: string, got?: string): ImagoError {
  return new ImagoError('BAD_FLAG_VALUE', summary, { want, got });
}

/** What a copy is, wherever it stands in a file. */
export function copyShape({ instruction, shownSources: _, ...copy }: PreparedCopy): unknown[] {
  return [instruction.name, instruction.name === 'ADD' ? instruction.unpack : undefined, copy];
}

/** As Docker's history. */
export function copyHistory({ instruction, shownSources, inline, dest, chown, chmod, parents }: PreparedCopy): string {
  return [
    instruction.name,
    ...(parents ? ['--parents'] : []),
    ...(chown === undefined ? [] : [`--chown=${chown}`]),
    ...(chmod === undefined ? [] : [`--chmod=${chmod}`]),
    ...shownSources,
    ...inline.map(({ name }) => `<<${name}`),
    dest,
  ].join(' ');
}

/** Whether an archive is unpacked: local ones by ADD, fetched ones where --unpack says so. */
export function unpacks({ instruction }: PreparedCopy, source: CopySource): boolean {
  if (instruction.name !== 'ADD' || source.kind === 'git') return false;
  return instruction.unpack ?? source.kind === 'path';
}
