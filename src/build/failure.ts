import type { SolveOptions } from './solve.ts';
import { diffIds, runConfig, type StageState } from './state.ts';

/** Opens a shell on this process's own terminal, and gives its exit status. What it changes is discarded. */
export type OpenShell = () => Promise<number>;

/** A step that failed, while its file system is still there. */
export interface FailedStep {
  /** As shown in the progress: '[2/4] RUN make'. */
  step: string;
  error: Error;
  /**
   * Of a RUN: in what it left, with its mounts, environment, directory and user. Of other steps: in what was there
   * before. Throws what keeps a shell from starting, as `COMMAND_NOT_FOUND`.
   */
  shell: OpenShell;
}

/** Is waited for. Only the first failure of a build is told; the build fails after it. */
export type OnFailure = (failed: FailedStep) => void | Promise<void>;

/** The first failure only; others wait for its end, since what fails stops all other steps, and so a shell. */
export function onlyFirst(onFailure: OnFailure | undefined): OnFailure | undefined {
  if (onFailure === undefined) return undefined;
  let first: Promise<void> | undefined;
  return (failed) => {
    first ??= (async () => onFailure(failed))();
    return first;
  };
}

/** The image's own shell, where SHELL names one. */
export function debugShell(state: StageState): string[] {
  const [shell = '/bin/sh'] = runConfig(state).Shell ?? [];
  return [shell];
}

/** What a shell in the state before a step finds: a RUN's environment, without any mounts. */
function shellEnv(state: StageState): string[] {
  return [...state.env].map(([key, value]) => `${key}=${value}`);
}

/** Of another step than RUN, which tells its own. */
export async function tellFailure(options: SolveOptions, state: StageState, step: string, error: Error): Promise<void> {
  const { run, network, lease, signal, runSettings: settings, onFailure } = options;
  if (onFailure === undefined || signal?.aborted === true) return;
  const none = { scripts: [], mounts: [], secretVariables: [], insecure: false, terminal: true, onOutput() {} };
  const shell = async (): Promise<number> => {
    options.checkRunnable(state.draft.config);
    const process = { args: debugShell(state), env: shellEnv(state), config: runConfig(state), network, settings };
    const place = { diffIds: diffIds(state), lower: () => undefined, lease, signal };
    return (await run({ ...none, ...process, ...place })).status;
  };
  await onFailure({ step, error, shell });
}
