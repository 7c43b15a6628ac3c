import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ImagoError } from '../../core/errors.ts';
import { type Field, parseJson } from '../../oci/json.ts';
import type { ClientOptions } from './types.ts';

/** What registries.json says of one registry (docs/registries.md). */
export interface RegistrySettings {
  insecure: boolean;
  mirrors: MirrorSettings[];
}

export interface MirrorSettings {
  /** `[http[s]://]HOST[:PORT][/PREFIX]` */
  location: string;
  insecure: boolean;
}

const CODE = 'BAD_REGISTRIES_FILE';
const MAX_FILE = 1024 * 1024;

/** The settings of a registry; those of the user's file replace those of the machine's. Throws `BAD_REGISTRIES_FILE`. */
export function readRegistrySettings(registry: string, options: ClientOptions): RegistrySettings {
  let settings: RegistrySettings = { insecure: false, mirrors: [] };
  for (const path of settingsFiles(options)) {
    const root = readSettingsFile(path);
    const entry = root?.get('registries').get(registry);
    if (entry?.present) settings = parseSettings(entry);
  }
  return settings;
}

function settingsFiles(options: ClientOptions): string[] {
  const env = options.environment ?? process.env;
  const chosen = options.registries ?? env.IMAGO_REGISTRIES;
  if (chosen) return [chosen];
  const config = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  return ['/etc/imago/registries.json', join(config, 'imago/registries.json')];
}

function readSettingsFile(path: string): Field | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (!stat.isFile() || stat.size > MAX_FILE) {
    throw new ImagoError(CODE, `${path} is no file of settings`, { want: `a file of at most ${MAX_FILE} bytes` });
  }
  return parseJson(readFileSync(path), CODE, path);
}

function parseSettings(entry: Field): RegistrySettings {
  entry.get('insecure').optional('boolean');
  return {
    insecure: entry.get('insecure').value === true,
    mirrors: entry
      .get('mirrors')
      .list()
      .map((mirror) => {
        if (typeof mirror.value === 'string') return { location: mirror.nonEmpty(), insecure: false };
        mirror.get('insecure').optional('boolean');
        return { location: mirror.get('location').nonEmpty(), insecure: mirror.get('insecure').value === true };
      }),
  };
}
