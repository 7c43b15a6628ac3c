import type { BuildPlan } from '../build/plan.ts';
import type { BuildFacts } from '../build/provenance.ts';
import { parseGitUrl } from '../system/git-url.ts';
import type { BuildOptions } from './build-options.ts';

type Facts = Pick<
  BuildFacts,
  'contextUrl' | 'target' | 'labels' | 'secrets' | 'ssh' | 'local' | 'hermetic' | 'noCache' | 'network'
>;

/** What a provenance tells of how a build was asked for. Of secrets their IDs, nothing else. */
export function factsOf(plans: readonly BuildPlan[], options: BuildOptions): Facts {
  const { context, network = 'host', labels = {}, noCache = false, target } = options;
  const remote = typeof context === 'string' && isRemote(context);
  const hermetic = plans.every((plan) =>
    plan.stages.every((stage) =>
      stage.steps.every(({ instruction }) => instruction.name !== 'RUN' || (instruction.network ?? network) === 'none'),
    ),
  );
  return {
    ...(remote ? { contextUrl: gitUri(context) } : {}),
    ...(target === undefined ? {} : { target }),
    labels,
    secrets: Object.keys(options.secrets ?? {}),
    ssh: Object.keys(options.ssh ?? {}),
    local: context !== undefined && !remote,
    hermetic,
    noCache,
    network,
  };
}

function isRemote(context: string): boolean {
  return /^https?:\/\//.test(context) || parseGitUrl(context) !== undefined;
}

/** As the material is called, and the directory of it. */
function gitUri(context: string): string {
  const git = parseGitUrl(context);
  if (git === undefined) return context;
  const { url, ref = '', subdir } = git;
  return subdir === undefined ? url + (ref && `#${ref}`) : `${url}#${ref}:${subdir}`;
}
