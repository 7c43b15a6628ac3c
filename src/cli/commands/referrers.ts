import { formatAge } from '../../core/durations.ts';
import { formatSize } from '../../core/sizes.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { listRemoteReferrers } from '../../transfer/referrers.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';
import { printable } from '../failure.ts';
import { type ListFormat, printRows, type Row } from '../format.ts';

const LIST: ListFormat = {
  headers: {
    Digest: 'DIGEST',
    ArtifactType: 'ARTIFACT TYPE',
    MediaType: 'MEDIA TYPE',
    Size: 'SIZE',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    Annotations: 'ANNOTATIONS',
  },
  columns: ['Digest', 'ArtifactType', 'Size', 'CreatedSince'],
};
const CREATED = 'org.opencontainers.image.created';

export const command: Command = {
  name: 'referrers',
  summary: 'List what refers to an image in its registry: signatures, SBOMs',
  usage: '[OPTIONS] IMAGE',
  options: {
    'artifact-type': { type: 'string', value: 'type', complete: 'none', help: 'Show only what is of this type' },
    format: {
      type: 'string',
      complete: 'none',
      help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template",
    },
    insecure: INSECURE,
    quiet: { type: 'boolean', short: 'q', help: 'Show digests only' },
  },
  args: { min: 1, max: 1 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const { referrers } = await listRemoteReferrers(args[0]!, {
      artifactType: options['artifact-type'] as string | undefined,
      ...registryOptions(context),
    });
    const format = options.format as string | undefined;
    if (options.quiet === true && format === undefined) {
      for (const { digest } of referrers) stdout.write(`${digest}\n`);
      return 0;
    }
    const now = Date.now();
    printRows(
      stdout,
      LIST,
      referrers.map((referrer) => rowOf(referrer, now)),
      format,
    );
    return 0;
  },
};

function rowOf({ digest, artifactType, mediaType, size, annotations = {} }: Descriptor, now: number): Row {
  return {
    Digest: digest,
    ArtifactType: shown(artifactType ?? ''),
    MediaType: shown(mediaType),
    Size: formatSize(size),
    CreatedSince: formatAge(annotations[CREATED], now),
    CreatedAt: shown(annotations[CREATED] ?? ''),
    Annotations: annotations,
  };
}

/** What a registry sends must not break the table or steer a terminal. */
function shown(text: string): string {
  return printable(text.replace(/\s+/g, ' '));
}
