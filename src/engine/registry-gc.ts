import { ImagoError } from '../core/errors.ts';
import { type CollectEvent, type CollectOutcome, collectGarbage } from '../registry/server/collect.ts';
import { collectSettings } from '../registry/server/collector.ts';
import { readServeConfig } from '../registry/server/config.ts';
import { parseDuration } from '../registry/server/settings-reader.ts';
import { openStorage } from '../registry/storage/open.ts';
import { defaultRegistryStorage } from './registry-storage.ts';

export interface CollectRegistryOptions {
  /** A server's settings: its storage and what `gc` and `proxy` say hold here, too. */
  config?: string;
  storage?: string;
  dryRun?: boolean;
  /** '24h' */
  grace?: string;
  deleteUntagged?: boolean;
  onEvent?: (event: CollectEvent) => void;
  signal?: AbortSignal;
}

/** Collects the garbage of a registry, while servers work on it or not. Throws `GC_BUSY` where another does it, `STORAGE_MISSING`. */
export async function collectRegistry(options: CollectRegistryOptions): Promise<CollectOutcome> {
  const config = readServeConfig(options.config);
  const settings = collectSettings(config);
  const graceMs = options.grace === undefined ? settings.graceMs : parseDuration(options.grace);
  if (graceMs === undefined) {
    throw new ImagoError('BAD_DURATION', `--grace ${options.grace} is no time`, { want: 'such as 30m, 24h or 7d' });
  }
  const storage = await openStorage(options.storage ?? config.storage ?? defaultRegistryStorage(), { create: false });
  try {
    const outcome = await collectGarbage({
      ...settings,
      storage,
      graceMs,
      ...(options.deleteUntagged && { removeUntagged: true }),
      dryRun: options.dryRun === true,
      ...(options.onEvent && { onEvent: options.onEvent }),
      ...(options.signal && { signal: options.signal }),
    });
    if (!outcome.busy) return outcome;
    throw new ImagoError('GC_BUSY', `the garbage of ${storage.title} is being collected already`, {
      remedy: 'wait for it, or try again in five minutes if it was killed',
    });
  } finally {
    await storage.close();
  }
}
