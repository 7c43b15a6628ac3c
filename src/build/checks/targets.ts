import { DockerfileError, type LineRange } from '../../formats/dockerfile/errors.ts';
import { readInstructions } from '../../formats/dockerfile/lines.ts';
import { parseInstruction } from '../../formats/dockerfile/parse.ts';
import { describe } from './outline.ts';

/** A stage, as `--call=targets` lists it. */
export interface Target extends LineRange {
  /** In lower case; '' where it has none. */
  name: string;
  description: string;
  base: string;
  platform?: string;
  /** Built where nothing else is asked for. */
  default: boolean;
}

/** The stages of a Dockerfile, up to its first error. */
export function listTargets(text: string): Target[] {
  const targets: Target[] = [];
  try {
    for (const raw of readInstructions(text).file.instructions) {
      const from = parseInstruction(raw);
      if (from.name !== 'FROM') continue;
      const { stage: name = '', image: base, platform, line, endLine } = from;
      const description = describe(raw.comments, name);
      targets.push({ name, description, base, ...(platform && { platform }), default: false, line, endLine });
    }
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error;
  }
  const last = targets.at(-1);
  if (last !== undefined) last.default = true;
  return targets;
}
