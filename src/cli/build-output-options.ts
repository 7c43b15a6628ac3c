import { once } from 'node:events';
import { lstatSync, rmSync, writeFileSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import type { BuildResult } from '../engine/build.ts';
import type { BuildOptions } from '../engine/build-options.ts';
import { parseAnnotation } from '../exporter/annotation-options.ts';
import { parseAttestations } from '../exporter/attest-options.ts';
import { checkWritable } from '../exporter/output-check.ts';
import { OUTPUT_TYPES, parseOutput } from '../exporter/output-options.ts';
import { encodeJson } from '../oci/json.ts';
import type { CommandContext, OptionSpec, OptionValues } from './command.ts';
import { userMode } from './umask.ts';

/** The flags of `build` that are about what becomes of its result. */
export const BUILD_OUTPUT_OPTIONS: Record<string, OptionSpec> = {
  output: {
    type: 'string',
    short: 'o',
    multiple: true,
    value: 'where',
    help: "What to make: DIR, '-' for a tar, or 'type=oci,dest=FILE' and the like",
    complete: OUTPUT_TYPES.map((type) => `type=${type}`),
  },
  push: { type: 'boolean', help: 'Push the image under its names' },
  load: { type: 'boolean', help: 'Keep the image beside other outputs' },
  'rewrite-timestamp': { type: 'boolean', help: 'Times in new layers end at the epoch' },
  annotation: {
    type: 'string',
    multiple: true,
    value: '[where:]key=value',
    help: 'Annotate the manifest, or the index',
    complete: 'none',
  },
  attest: {
    type: 'string',
    multiple: true,
    value: 'type=kind',
    help: 'Attest it: type=provenance, type=sbom',
    complete: ['type=provenance', 'type=sbom'],
  },
  provenance: {
    type: 'string',
    value: 'how',
    help: 'Attest how it was built: true, mode=max',
    complete: ['true', 'false', 'mode=min', 'mode=max'],
  },
  sbom: {
    type: 'string',
    value: 'how',
    help: 'Attest what is in it: true, or generator=IMAGE, which finds it',
    complete: ['true', 'false', 'generator='],
  },
  iidfile: { type: 'string', value: 'file', help: 'Write the image ID to a file' },
  'metadata-file': { type: 'string', value: 'file', help: 'Write digests and names as JSON' },
};

/** Looks first whether the files that come last can be written. Throws `CANNOT_WRITE`, `BAD_OUTPUT`, `BAD_ATTESTATION`. */
export function readBuildOutputOptions(
  options: OptionValues,
  stdout: CommandContext['stdout'],
): Pick<BuildOptions, 'outputs' | 'push' | 'load' | 'annotations' | 'attest' | 'rewriteTimestamp' | 'stdout'> {
  for (const name of ['iidfile', 'metadata-file']) {
    if (options[name] !== undefined) checkWritable(options[name] as string, 'file');
  }
  const outputs = (options.output as string[]).map(parseOutput);
  if (stdout.isTTY && outputs.some(({ dest }) => dest === '-')) {
    throw new ImagoError('BAD_OUTPUT', 'an archive is not for a terminal', { remedy: 'redirect it, or name a file' });
  }
  return {
    outputs,
    push: options.push === true,
    load: options.load === true,
    annotations: (options.annotation as string[]).flatMap(parseAnnotation),
    attest: parseAttestations({
      provenance: options.provenance as string | undefined,
      sbom: options.sbom as string | undefined,
      attest: options.attest as string[],
    }),
    ...(options['rewrite-timestamp'] === true ? { rewriteTimestamp: true } : {}),
    stdout: async (chunk) => {
      if (stdout.destroyed) await once(stdout, 'close');
      await new Promise<void>((resolve, reject) => stdout.write(chunk, (error) => (error ? reject(error) : resolve())));
    },
  };
}

/** As docker: a build that fails leaves no file with the ID of another. */
export function dropImageIdFile({ iidfile }: OptionValues): void {
  if (iidfile === undefined) return;
  if (lstatSync(iidfile as string, { throwIfNoEntry: false })?.isFile() === true) rmSync(iidfile as string);
}

/** The ID goes to standard output where nothing else does. */
export function writeBuildResult(
  { id, metadata }: BuildResult,
  options: OptionValues,
  stdout: CommandContext['stdout'],
  quiet: boolean,
): void {
  const mode = userMode(0o644);
  if (options.iidfile !== undefined) writeFileSync(options.iidfile as string, id, { mode });
  if (options['metadata-file'] !== undefined) {
    // Sorted, as buildx does.
    const sorted = JSON.parse(Buffer.from(encodeJson(metadata)).toString()) as unknown;
    writeFileSync(options['metadata-file'] as string, `${JSON.stringify(sorted, null, 2)}\n`, { mode });
  }
  const taken = (options.output as string[]).some((text) => parseOutput(text).dest === '-');
  if (quiet && !taken) stdout.write(`${id}\n`);
}
