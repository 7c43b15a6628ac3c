import { ImagoError } from '../../core/errors.ts';
import type { ExpandOptions } from '../../formats/dockerfile/expand.ts';
import type { StageInstruction } from '../../formats/dockerfile/instruction.ts';
import type { RunConfig } from '../../oci/config.ts';
import type { Platform } from '../../oci/platform.ts';
import type { BuildPlan, Origin, PlannedStage, PlannedStep } from '../plan.ts';
import type { StageState } from '../state.ts';

/** An image that finds what others are made of (BuildKit, docs/attestations/sbom-protocol.md). */
export interface SbomScanner {
  /** Name of the image. */
  generator: string;
  /** It finds them as BUILDKIT_SCAN_<key>. */
  parameters: Readonly<Record<string, string>>;
}

/** One that was looked up. */
export interface ReadyScanner extends SbomScanner {
  platform: Platform;
  config: RunConfig;
}

const SOURCE = '/run/src';
/** Where it writes to. */
export const SCAN_DESTINATION = 'run/out';
const CORE = 'sbom';

/** ARGs that say what of a build is scanned beside its result; they are no variables. */
export const SCAN_CONTEXT = 'BUILDKIT_SBOM_SCAN_CONTEXT';
export const SCAN_STAGE = 'BUILDKIT_SBOM_SCAN_STAGE';

/**
 * The scan of a plan's target as a stage of its own: a RUN on the scanner's image, the roots mounted read-only, which
 * the cache knows like any other. `stateOf` has every stage of the plan as it was built. Throws `BAD_SCANNER`.
 */
export function planScan(
  plan: BuildPlan,
  stateOf: ReadonlyMap<PlannedStage, StageState>,
  { generator, parameters, platform, config }: ReadyScanner,
): PlannedStage {
  const args = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (args.length === 0) {
    throw new ImagoError('BAD_SCANNER', `the scanner ${generator} has no command`, {
      remedy: 'name an image that scans, as docker/buildkit-syft-scanner:stable-1',
    });
  }
  const extras = findExtras(plan, stateOf);
  const roots: [path: string, origin: Origin | undefined][] = [
    [`core/${CORE}`, { kind: 'stage', stage: plan.target }],
    ...extras.map(([name, origin]): [string, Origin | undefined] => [`extras/${CORE}-${name}`, origin]),
  ];
  const env = {
    BUILDKIT_SCAN_DESTINATION: `/${SCAN_DESTINATION}/`,
    BUILDKIT_SCAN_SOURCE: `${SOURCE}/core/${CORE}`,
    ...(extras.length > 0 && { BUILDKIT_SCAN_SOURCE_EXTRAS: `${SOURCE}/extras` }),
    ...Object.fromEntries(Object.entries(parameters).map(([key, value]) => [`BUILDKIT_SCAN_${key}`, value])),
  };
  const at = { line: 0, endLine: 0 };
  const run: StageInstruction = {
    ...{ ...at, name: 'RUN', source: `RUN ${JSON.stringify(args)}`, args, shell: false },
    ...{ heredocs: [], devices: [] },
    mounts: ['type=tmpfs,target=/tmp', ...roots.map(([path]) => `type=bind,target=${SOURCE}/${path}`)],
  };
  const pairs = Object.entries(env).map(([key, value]) => ({ key, value: quote(value, plan.expand) }));
  const directory = (value: string): StageInstruction => ({
    ...at,
    name: 'WORKDIR',
    source: `WORKDIR ${value}`,
    value,
  });
  const steps: PlannedStep[] = [
    { ...at, name: 'USER', source: 'USER 0:0', value: '0:0' } as const,
    directory(`/${SCAN_DESTINATION}`),
    directory(config.WorkingDir || '/'),
    { ...at, name: 'ENV', source: 'ENV', pairs } as const,
  ].map((instruction) => ({ instruction, trigger: false }));
  const mounts = [undefined, ...roots.map(([, origin]) => origin)];
  return {
    index: plan.stages.length,
    name: 'sbom',
    from: { ...at, name: 'FROM', source: `FROM ${generator}`, image: generator },
    base: { kind: 'image', reference: generator },
    platform,
    steps: [...steps, { instruction: run, mounts, trigger: false }],
  };
}

/** By the names that the scanner finds them under; undefined is the build context. */
function findExtras(
  { target, stages, globalArgs }: BuildPlan,
  stateOf: ReadonlyMap<PlannedStage, StageState>,
): [name: string, origin: Origin | undefined][] {
  const isOn = (stage: PlannedStage, arg: string): boolean =>
    isEnabled(stageName(stage), stateOf.get(stage)?.scan?.get(arg) ?? globalArgs.get(arg) ?? '');
  const found = stages
    .filter((stage) => stage !== target && isOn(stage, SCAN_STAGE))
    .map((stage): [string, Origin] => [stageName(stage), { kind: 'stage', stage }]);
  return isOn(target, SCAN_CONTEXT) ? [['context', undefined], ...found] : found;
}

function stageName({ name, index }: PlannedStage): string {
  return name ?? String(index);
}

/** Yes, no, or the names of stages. */
function isEnabled(name: string, text: string): boolean {
  return /^(?:1|t|true)$/i.test(text) || text.split(',').includes(name);
}

/** So that expanding it gives the value back. */
function quote(value: string, options: ExpandOptions): string {
  const mark = options.escape ?? '\\';
  return [...value].map((c) => (c === mark || c === '$' || c === '"' || c === "'" ? mark + c : c)).join('');
}
