import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { type ExpandOptions, expandWord, expandWords } from '../formats/dockerfile/expand.ts';
import { editConfig, type ImageDraft } from '../image/draft.ts';
import type { HistoryEntry, RunConfig } from '../oci/config.ts';

/** What every line of history says that this builder wrote. */
const COMMENT = 'imago';
/** Characters: with more, no engine and no registry would take the image's config (`writeImage`). */
const LONGEST_HISTORY = 2 ** 22;

/** Where a stage stands: the image so far, and what its next instruction sees. A value. */
export interface StageState {
  readonly draft: ImageDraft;
  /** ENV and ARG in scope, the last word of each name: what expands, and what RUN finds in its environment. */
  readonly env: ReadonlyMap<string, string>;
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
  /** LABELs of this stage that are not in `draft` yet: `settleLabels`. */
  readonly labels?: LabelList | undefined;
  /** Characters of the history so far. */
  readonly told?: number;
  /** What the progress calls the step that its newest layer comes from. */
  readonly step?: number;
}

/** The newest first. */
interface LabelList {
  readonly pairs: readonly (readonly [string, string])[];
  readonly older: LabelList | undefined;
}

/** containerd's and runc's, for images that set none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a stage starts from; `created` is the time of its newest layer. */
export function startState(draft: ImageDraft, created: string): StageState {
  const { Env, ...config } = draft.config.config ?? {};
  const own = Env ?? [];
  // As BuildKit: what a stage adds to PATH is added to something.
  const all = own.some((entry) => entry.startsWith('PATH=')) ? own : [...own, `PATH=${DEFAULT_PATH}`];
  const dated = { ...draft, config: { ...draft.config, created, config: { ...config, Env: all } } };
  return { draft: dated, env: new Map(parseEnv(all)), args: [], created, cmdSet: false };
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

export function expandWordsIn(state: StageState, text: string, options: ExpandOptions): string[] {
  return expandWords(text, (name) => state.env.get(name), options);
}

export function withEnv(state: StageState, pairs: Iterable<readonly [string, string]>): StageState {
  const env = new Map(state.env);
  for (const [name, value] of pairs) env.set(name, value);
  return { ...state, env };
}

/** Does not copy all labels for each LABEL: there may be thousands. */
export function withLabels(state: StageState, pairs: LabelList['pairs']): StageState {
  return { ...state, labels: { pairs, older: state.labels } };
}

/** Puts all LABELs into the config: at the end of a stage, as no instruction reads them. */
export function settleLabels(state: StageState): StageState {
  if (state.labels === undefined) return state;
  const lists: LabelList['pairs'][] = [];
  for (let list: LabelList | undefined = state.labels; list !== undefined; list = list.older) lists.push(list.pairs);
  const own = runConfig(state);
  const Labels = { ...own.Labels, ...Object.fromEntries(lists.reverse().flat()) };
  const { draft } = state;
  return { ...state, labels: undefined, draft: { ...draft, config: { ...draft.config, config: { ...own, Labels } } } };
}

/** NAME=value of a list in the form of the image config. */
export function parseEnv(list: readonly string[]): [string, string][] {
  return list.map((entry) => {
    const equals = entry.indexOf('=');
    return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
  });
}
