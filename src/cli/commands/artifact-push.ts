import { ImagoError } from '../../core/errors.ts';
import { familiarReference, parseReference } from '../../oci/reference.ts';
import { parseArtifactFile, pushArtifact } from '../../transfer/artifact-push.ts';
import { INSECURE, parseAnnotations, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';
import { printable } from '../failure.ts';
import { createProgress } from '../progress.ts';

export const command: Command = {
  name: 'artifact push',
  summary: 'Push files and directories to a registry, as oras does',
  usage: '[OPTIONS] NAME[:TAG] [FILE[:MEDIATYPE]...]',
  options: {
    annotation: { type: 'string', multiple: true, value: 'key=value', complete: 'none', help: 'Annotate the artifact' },
    'artifact-type': { type: 'string', value: 'type', complete: 'none', help: 'What it is, as a media type' },
    insecure: INSECURE,
    quiet: { type: 'boolean', short: 'q', help: 'Print the digest only' },
    subject: {
      type: 'string',
      value: 'image',
      complete: 'image',
      help: 'What it belongs to in the same repository; the tag may then be left out',
    },
  },
  args: { min: 1 },
  complete: 'file',
  async run(context) {
    const { args, options, stdout, stderr } = context;
    const quiet = options.quiet === true;
    const progress = quiet || !stderr.isTTY ? undefined : createProgress(stderr);
    const { reference, descriptor, subject } = await pushArtifact(args[0]!, args.slice(1).map(parseArtifactFile), {
      annotations: parseAnnotations(options.annotation as string[]),
      artifactType: options['artifact-type'] as string | undefined,
      subject: options.subject as string | undefined,
      created: creationTime(),
      onFile: (name, done, total) =>
        progress?.update(printable(name), {
          status: done === total ? 'Pushed' : 'Pushing',
          done,
          total,
          finished: done === total,
        }),
      ...registryOptions(context),
    }).finally(() => progress?.close());
    if (quiet) stdout.write(`${descriptor.digest}\n`);
    else {
      stdout.write(`Pushed ${familiarReference(parseReference(reference, { defaultTag: false }))}\n`);
      if (subject !== undefined) stdout.write(`Subject: ${subject}\n`);
      stdout.write(`Digest: ${descriptor.digest}\n`);
    }
    return 0;
  },
};

/** SOURCE_DATE_EPOCH (reproducible-builds.org) makes the same artifact each time. */
function creationTime(): string | undefined {
  const text = process.env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === '') return undefined;
  if (/^[0-9]{1,11}$/.test(text)) return new Date(Number(text) * 1000).toISOString().replace('.000Z', 'Z');
  throw new ImagoError('BAD_EPOCH', 'SOURCE_DATE_EPOCH is no time', {
    want: 'seconds since 1970',
    got: JSON.stringify(text),
  });
}
