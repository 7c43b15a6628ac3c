import { formatSize } from '../../core/sizes.ts';
import { collectRegistry } from '../../engine/registry-gc.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'registry gc',
  summary: 'Remove what no manifest of a registry needs, while it serves',
  usage: '[OPTIONS]',
  options: {
    config: { type: 'string', short: 'c', value: 'file', help: "The server's settings (YAML)" },
    'delete-untagged': { type: 'boolean', help: 'Remove manifests that no tag leads to, too' },
    'dry-run': { type: 'boolean', help: 'Tell what would go, and remove nothing' },
    grace: { type: 'string', value: 'time', complete: 'none', help: 'Leave what is younger (24h)' },
    quiet: { type: 'boolean', short: 'q', help: 'Print the totals only' },
    storage: { type: 'string', value: 'dir', help: 'A directory, or s3://bucket/prefix' },
  },
  args: { min: 0, max: 0 },
  async run(context) {
    const { options, stdout } = context;
    const dryRun = options['dry-run'] === true;
    const say = dryRun ? 'Would remove' : 'Removed';
    const outcome = await collectRegistry({
      config: options.config as string | undefined,
      storage: options.storage as string | undefined,
      grace: options.grace as string | undefined,
      deleteUntagged: options['delete-untagged'] === true,
      dryRun,
      signal: context.signal,
      onEvent(event) {
        if (options.quiet === true) return;
        if (event.kind === 'manifest') stdout.write(`${say} ${event.repository}@${event.digest}\n`);
        else if (event.kind === 'blob') stdout.write(`${say} ${event.digest} (${formatSize(event.bytes)})\n`);
        else if (event.kind === 'upload')
          stdout.write(`${say} an upload to ${event.repository} (${formatSize(event.bytes)})\n`);
      },
    });
    const { manifests, removedManifests, removedBlobs, discardedUploads } = outcome;
    const bytes = formatSize(outcome.removedBytes + outcome.discardedBytes);
    stdout.write(
      `${say} manifests: ${removedManifests}, blobs: ${removedBlobs}, uploads: ${discardedUploads} (${bytes}). Manifests that stay: ${manifests}.\n`,
    );
    return 0;
  },
};
