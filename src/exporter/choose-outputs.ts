import { ImagoError } from '../core/errors.ts';
import type { BuildOutput } from './output-options.ts';

/** The usual one, and that of flags beside `--output`. Throws `BAD_OUTPUT` for what cannot go together. */
export function chooseOutputs(
  outputs: readonly BuildOutput[],
  { push = false, load = false }: { push?: boolean; load?: boolean } = {},
): BuildOutput[] {
  if (outputs.length === 0) return [{ type: push ? 'registry' : 'image' }];
  const isImage = ({ type }: BuildOutput): boolean => type === 'image' || type === 'registry';
  const chosen = outputs.map((output) => (push && isImage(output) ? { ...output, push: true } : output));
  if (push && !outputs.some(isImage)) chosen.push({ type: 'registry' });
  if (load && !outputs.some((output) => isImage(output) || isLoad(output))) chosen.push({ type: 'image' });
  const places = chosen.map(({ dest }) => dest).filter((dest) => dest !== undefined);
  const twice = places.find((dest, i) => places.indexOf(dest) !== i);
  if (twice === undefined) return chosen;
  throw new ImagoError('BAD_OUTPUT', 'two outputs go to the same place', { got: twice, remedy: 'give each its own' });
}

/** type=docker without a file: into the store. */
export function isLoad({ type, dest }: BuildOutput): boolean {
  return type === 'docker' && dest === undefined;
}
