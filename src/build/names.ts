import { type ExpandOptions, expandWord } from '../formats/dockerfile/expand.ts';
import { parseHeredocWord, summarizeHeredoc } from '../formats/dockerfile/heredoc.ts';
import type { StageInstruction } from '../formats/dockerfile/instruction.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { BuildPlan, PlannedStage } from './plan.ts';
import { redactUrls } from './remote/url.ts';
import type { StageState } from './state.ts';

const COUNTED = new Set(['RUN', 'COPY', 'ADD', 'WORKDIR']);

/** `[2/4] RUN make`, with the stage's name where there are several, and the platform: as BuildKit numbers them. */
export class StepNames {
  readonly #prefix: string;
  readonly #total: number;
  #count = 0;

  /** `several`: images for more than one platform are built. */
  constructor(stage: PlannedStage, plan: BuildPlan, several: boolean) {
    const name = stage.name ?? (plan.stages.length > 1 ? `stage-${stage.index}` : undefined);
    const words = [...(several ? [formatPlatform(stage.platform)] : []), ...(name === undefined ? [] : [name])];
    this.#prefix = words.map((word) => `${word} `).join('');
    this.#total = countSteps(stage);
  }

  next(text: string, trigger = false): string {
    this.#count++;
    const number = String(this.#count).padStart(String(this.#total).length);
    return `[${this.#prefix}${number}/${this.#total}] ${trigger ? 'ONBUILD ' : ''}${text}`;
  }
}

/** Those that have a number. */
export function countSteps({ base, steps }: PlannedStage): number {
  const own = steps.filter(({ instruction }) => COUNTED.has(instruction.name)).length;
  return own + (base.kind === 'image' || base.kind === 'files' ? 1 : 0);
}

/** The instruction as written, with the variables that are set. */
export function describeStep(instruction: StageInstruction, state: StageState, options: ExpandOptions): string {
  let text = instruction.source.replace(/^\S+/, (word) => word.toUpperCase());
  try {
    const raw: ExpandOptions = { ...options, rawQuotes: true, rawEscapes: true, keepUnset: true };
    const secret = secretNames(instruction);
    text = expandWord(text, (name) => (secret.has(name) ? '****' : state.env.get(name)), raw);
  } catch {
    // Shell syntax that only looks like a variable.
  }
  if (instruction.name === 'ADD') return redactUrls(text);
  if (instruction.name !== 'RUN') return text;
  const [doc] = instruction.heredocs;
  const alone = doc !== undefined && parseHeredocWord(instruction.args[0] ?? '') !== undefined;
  return alone ? `${text} (${summarizeHeredoc(doc.content)})` : text;
}

/** Variables whose values are secrets there: what ENV says of them would only look as if it were one. */
function secretNames(instruction: StageInstruction): ReadonlySet<string> {
  const mounts = instruction.name === 'RUN' ? instruction.mounts : [];
  return new Set(
    mounts.flatMap((text) => (/\btype=secret\b/i.test(text) ? (/\benv=(\w+)/i.exec(text)?.[1] ?? []) : [])),
  );
}
