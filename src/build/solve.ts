import type { Digest } from '../core/digest.ts';
import { createLimit } from '../core/limit.ts';
import type { FromInstruction } from '../formats/dockerfile/instruction.ts';
import type { ImageDraft } from '../image/draft.ts';
import type { Image } from '../image/image.ts';
import type { Platform } from '../oci/platform.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { type BuildCache, sweepCache } from './cache.ts';
import type { ContextSource } from './context/context-source.ts';
import type { BuildProgress } from './events.ts';
import type { OnFailure } from './failure.ts';
import { countSteps } from './names.ts';
import type { BuildPlan } from './plan.ts';
import type { Materials } from './provenance.ts';
import type { ReadSecret } from './remote/secrets.ts';
import type { Entitlement, RunNetwork, RunSettings, RunStep } from './run.ts';
import type { ReadyScanner } from './sbom/scan-plan.ts';
import { SharedSteps } from './shared-steps.ts';

import { type Common, Solver } from './solver.ts';

export interface SolveOptions {
  store: Store;
  /** Holds all layers that the build uses or makes until the image has its name. */
  lease: Lease;
  plan: BuildPlan;
  context: ContextSource;
  /** Opens a named context, each once. */
  openNamed(place: string): Promise<ContextSource>;
  /** Throws where this machine cannot run what is for a platform. */
  checkRunnable(platform: Platform): void;
  buildArgs: ReadonlyMap<string, string>;
  /** Steps of which stages take nothing from the cache: all, or those of these names in lower case. */
  noCache: boolean | ReadonlySet<string>;
  /** Default: the store's alone. */
  cache?: BuildCache;
  /** It comes from elsewhere, or goes there. */
  cacheTravels?: boolean;
  /** Stages that a cache makes needless are not built. */
  lazy?: boolean;
  network: RunNetwork;
  /** What a RUN may ask for. */
  allow: readonly Entitlement[];
  runSettings: RunSettings;
  /** For what ADD fetches. */
  readSecret?: ReadSecret;
  /** The time of everything (reproducible-builds.org, SOURCE_DATE_EPOCH); undefined: as it is. */
  epoch: Date | undefined;
  run: RunStep;
  resolveImage(reference: string, platform: Platform, from: FromInstruction | undefined): Promise<Image>;
  /** Gets what comes from the network. */
  materials?: Materials;
  progress: BuildProgress;
  onFailure?: OnFailure | undefined;
  signal?: AbortSignal;
}

/** What became of a plan. */
export interface Solved {
  draft: ImageDraft;
  /** What the scanner wrote, if there is one. */
  scan?: Digest | null;
}

/** COPY, ADD and WORKDIR at once: each reads and writes, so more would only wait for each other. */
const COPIES_AT_ONCE = 4;

/**
 * Builds the targets of several plans of one file, one a platform, side by side; what they have in common is done
 * once. The first error is the one that is told, after all else has ended.
 */
export async function solvePlans(
  plans: readonly BuildPlan[],
  options: Omit<SolveOptions, 'plan'> & { scanner?: ReadyScanner | undefined },
): Promise<Solved[]> {
  const { scanner } = options;
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const common: Common = {
    shared: new SharedSteps(),
    copies: createLimit(COPIES_AT_ONCE),
    context: undefined,
    several: plans.length > 1,
  };
  using solvers = new DisposableStack();
  const all = plans.map((plan) =>
    solvers.use(new Solver({ ...options, plan, signal, lazy: scanner === undefined }, common)),
  );
  options.progress.plan(plans.flatMap(({ stages }) => stages).reduce((sum, stage) => sum + countSteps(stage), 0));
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop.abort(error);
  };
  // All of them, so that nothing is being written any more when the lease ends.
  await Promise.all(all.flatMap((solver) => solver.start().map((started) => started.catch(fail))));
  const scans = await Promise.all(
    all.map((solver) =>
      scanner === undefined || failure !== undefined ? undefined : solver.scan(scanner).catch(fail),
    ),
  );
  await Promise.all(all.map((solver) => solver.settled()));
  if (failure !== undefined) throw failure.error;
  const solved = await Promise.all(
    all.map(async (solver, i) => {
      const scan = scans[i];
      const { draft } = await solver.solve(plans[i]!.target);
      return { draft, ...(scan !== undefined && { scan }) };
    }),
  );
  sweepCache(options.store);
  return solved;
}
