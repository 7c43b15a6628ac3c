import { type ConfigureContext, configure } from '../build/configure.ts';
import { Scope } from '../build/scope.ts';
import { parseEnv, type StageState, settleConfig } from '../build/state.ts';
import { ImagoError } from '../core/errors.ts';
import { parseTrigger } from '../formats/dockerfile/parse.ts';
import { joinWorkdir } from '../formats/dockerfile/path.ts';
import type { ImageDraft } from '../image/draft.ts';

/** As moby v28, builder/dockerfile/builder.go `validCommitCommands`. */
const ALLOWED: ReadonlySet<string> = new Set(
  'CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR'.split(' '),
);

const CONTEXT: ConfigureContext = { expand: {}, buildArgs: new Map(), globalArgs: new Map() };

/**
 * What `--change` of import and commit does: Dockerfile instructions that only say how the image runs, in order. They
 * leave no history. Throws `BAD_CHANGE`.
 */
export function applyChanges(draft: ImageDraft, changes: readonly string[]): ImageDraft {
  let state: StageState = {
    draft,
    env: new Scope(parseEnv(draft.config.config?.Env ?? [])),
    args: [],
    created: '',
    cmdSet: false,
  };
  for (const text of changes) {
    try {
      state = applyChange(state, text);
    } catch (error) {
      if (!(error instanceof ImagoError)) throw error;
      const problem = error.message.replace(/^dockerfile parse error on line \d+: /, '');
      throw new ImagoError('BAD_CHANGE', `invalid change ${JSON.stringify(text)}: ${problem}`, { cause: error });
    }
  }
  return { ...draft, config: { ...draft.config, config: settleConfig(state).draft.config.config } };
}

function applyChange(state: StageState, text: string): StageState {
  const instruction = parseTrigger(text, { line: 1, endLine: 1 });
  if (!ALLOWED.has(instruction.name) || instruction.name === 'FROM') {
    throw new ImagoError('BAD_CHANGE', `${instruction.name} is not a valid change command`, {
      want: [...ALLOWED].join(', '),
    });
  }
  if (instruction.name === 'WORKDIR') {
    const { config } = state.draft;
    const WorkingDir = joinWorkdir(config.config?.WorkingDir ?? '', instruction.value);
    return { ...state, draft: { ...state.draft, config: { ...config, config: { ...config.config, WorkingDir } } } };
  }
  return configure(state, instruction, CONTEXT) ?? state;
}
