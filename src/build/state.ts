import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { type ExpandOptions, expandWord, expandWords } from '../formats/dockerfile/expand.ts';
import { draftOf, editConfig, emptyDraft, type ImageDraft } from '../image/draft.ts';
import type { Image } from '../image/image.ts';
import type { HistoryEntry, RunConfig } from '../oci/config.ts';
import type { Platform } from '../oci/platform.ts';
import { Scope } from './scope.ts';

/** What every line of history says that this builder wrote. */
const COMMENT = 'imago';
/** Characters: with more, no engine and no registry would take the image's config (`writeImage`). */
const LONGEST_HISTORY = 2 ** 22;

/** Where a stage stands: the image so far, and what its next instruction sees. A value. */
export interface StageState {
  readonly draft: ImageDraft;
  /** ENV and ARG in scope, the last word of each name: what expands, and what RUN finds in its environment. */
  readonly env: Scope;
  /** Names that ARG declared, in order, for RUN's line of history. */
  readonly args: readonly string[];
  /** RFC 3339: when the newest layer was made, in this build or in the one that it is cached from. */
  readonly created: string;
  /** What ARGs say of what a scanner is to look into; in no environment. */
  readonly scan?: ReadonlyMap<string, string>;
  /** CMD was given in this stage: ENTRYPOINT then does not reset it. */
  readonly cmdSet: boolean;
  /** Its stage takes nothing from the cache. */
  readonly noCache?: boolean;
  /** Of LABEL, EXPOSE and VOLUME in this stage, not in `draft` yet: `settleConfig`. */
  readonly members?: MemberList | undefined;
  /** Characters of the history so far. */
  readonly told?: number;
  /** What the progress calls the step that its newest layer comes from. */
  readonly step?: number;
}

/** The parts of the config that are objects whose members add up. */
type Collected = 'Labels' | 'ExposedPorts' | 'Volumes';

/** The newest first. */
interface MemberList {
  readonly part: Collected;
  readonly pairs: readonly (readonly [string, unknown])[];
  readonly older: MemberList | undefined;
}

/** containerd's and runc's, for images that set none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a stage starts from; `created` is the time of its newest layer. */
function startState(draft: ImageDraft, created: string): StageState {
  const { Env, ...config } = draft.config.config ?? {};
  const own = Env ?? [];
  // As BuildKit: what a stage adds to PATH is added to something.
  const all = own.some((entry) => entry.startsWith('PATH=')) ? own : [...own, `PATH=${DEFAULT_PATH}`];
  const dated = { ...draft, config: { ...draft.config, created, config: { ...config, Env: all } } };
  return { draft: dated, env: new Scope(parseEnv(all)), args: [], created, cmdSet: false };
}

/** `FROM scratch` */
export function scratchState(platform: Platform, created: string): StageState {
  const draft = emptyDraft(platform);
  return startState({ ...draft, config: { ...draft.config, config: { WorkingDir: '/' } } }, created);
}

/** On an image, whose triggers are steps of the stage by now. */
export function imageState(image: Image, created: string): StageState {
  const { OnBuild: _, ...rest } = image.config.config ?? {};
  const draft = draftOf(image);
  return startState({ ...draft, config: { ...draft.config, config: rest } }, created);
}

export function runConfig(state: StageState): RunConfig {
  return state.draft.config.config ?? {};
}

export function diffIds(state: StageState): Digest[] {
  return state.draft.config.rootfs.diff_ids;
}

/** The shell of the shell form. */
export function shellOf(state: StageState): string[] {
  const { Shell } = runConfig(state);
  return Shell && Shell.length > 0 ? Shell : ['/bin/sh', '-c'];
}

export function historyEntry(createdBy: string, created: string): HistoryEntry {
  return { created, created_by: createdBy, comment: COMMENT };
}

/** A line of history of its own, as old as the layer below it: a rebuild from the cache gives the same image. */
export function changeConfig(state: StageState, change: Partial<RunConfig>, createdBy: string): StageState {
  const told = (state.told ?? 0) + createdBy.length;
  if (told > LONGEST_HISTORY) {
    throw new ImagoError('IMAGE_TOO_LARGE', "the image's history is too long", {
      want: `at most ${LONGEST_HISTORY} characters`,
      remedy: 'use fewer instructions, or shorter values',
    });
  }
  return { ...state, told, draft: editConfig(state.draft, change, historyEntry(createdBy, state.created)) };
}

export function expandIn(state: StageState, text: string, options: ExpandOptions): string {
  return expandWord(text, (name) => state.env.get(name), options);
}

/** Of a word, and of a heredoc's body, in which quotes are nothing special. */
export function expanderOf(
  state: StageState,
  expand: ExpandOptions,
): { word(text: string): string; body(text: string): string } {
  return {
    word: (text) => expandIn(state, text, expand),
    body: (text) => expandIn(state, text, { ignoreQuotes: true }),
  };
}

export function expandWordsIn(state: StageState, text: string, options: ExpandOptions): string[] {
  return expandWords(text, (name) => state.env.get(name), options);
}

export function withEnv(state: StageState, pairs: Iterable<readonly [string, string]>): StageState {
  return { ...state, env: state.env.with(pairs) };
}

/** Does not copy all of a part for each instruction: there may be thousands. */
export function withMembers(state: StageState, part: Collected, pairs: MemberList['pairs']): StageState {
  return { ...state, members: { part, pairs, older: state.members } };
}

/** Puts all LABELs, ports and volumes into the config: at the end of a stage, as no instruction reads them. */
export function settleConfig(state: StageState): StageState {
  if (state.members === undefined) return state;
  const lists: MemberList[] = [];
  for (let list: MemberList | undefined = state.members; list !== undefined; list = list.older) lists.push(list);
  const config = { ...runConfig(state) };
  for (const part of new Set(lists.map((list) => list.part))) {
    const pairs = lists.flatMap((list) => (list.part === part ? [list.pairs] : []));
    Object.assign(config, { [part]: { ...config[part], ...Object.fromEntries(pairs.reverse().flat()) } });
  }
  const { draft } = state;
  return { ...state, members: undefined, draft: { ...draft, config: { ...draft.config, config } } };
}

/** NAME=value of a list in the form of the image config. */
export function parseEnv(list: readonly string[]): [string, string][] {
  return list.map((entry) => {
    const equals = entry.indexOf('=');
    return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
  });
}
