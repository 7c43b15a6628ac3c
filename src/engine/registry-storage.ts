import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where `imago registry` keeps things unless it is told otherwise: beside the store, not in it. */
export function defaultRegistryStorage(): string {
  if (process.getuid?.() === 0) return '/var/lib/imago-registry';
  return join(process.env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'imago-registry');
}
