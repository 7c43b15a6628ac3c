import { DockerfileError, withSuggestion } from '../../formats/dockerfile/errors.ts';
import type { RunInstruction } from '../../formats/dockerfile/instruction.ts';
import { mountOrigin, parseMount } from '../../formats/dockerfile/mount.ts';

const NETWORKS: readonly string[] = ['default', 'none', 'host'];
const SECURITY: readonly string[] = ['sandbox', 'insecure'];

/** What can be told of RUN's flags before anything runs. Throws `DockerfileError`. */
export function checkRun(instruction: RunInstruction): void {
  const { network, security, devices } = instruction;
  // The flag is known so that the error says what it is.
  if (devices.length > 0) throw new DockerfileError('RUN --device is no part of docker/dockerfile:1', instruction);
  if (network !== undefined && !NETWORKS.includes(network)) {
    const problem = withSuggestion(`invalid network mode ${JSON.stringify(network)}`, network, NETWORKS);
    throw new DockerfileError(`${problem}: wanted ${NETWORKS.join(', ')}`, instruction);
  }
  if (security !== undefined && !SECURITY.includes(security)) {
    const problem = withSuggestion(`security ${JSON.stringify(security)} is not valid`, security, SECURITY);
    throw new DockerfileError(`${problem}: wanted ${SECURITY.join(', ')}`, instruction);
  }
}

/** The `from` of a mount; all of it is checked where no variable keeps that for later. Throws `DockerfileError`. */
export function checkMount(text: string, instruction: RunInstruction): string {
  try {
    const from = mountOrigin(text);
    if (!text.includes('$')) parseMount(text, (value) => value);
    return from;
  } catch (error) {
    throw new DockerfileError((error as Error).message, instruction, error);
  }
}
