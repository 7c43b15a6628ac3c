import type { Digest } from '../core/digest.ts';
import { type Field, parseJson } from './json.ts';

/** How to run the image. OCI image-spec v1.1.1, config.md §Properties `config`, and Docker's additions. */
export interface RunConfig {
  User?: string;
  ExposedPorts?: Record<string, unknown> | null;
  Env?: string[] | null;
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, unknown> | null;
  WorkingDir?: string;
  Labels?: Record<string, string> | null;
  StopSignal?: string;
  /** Docker's. Seconds. */
  StopTimeout?: number | null;
  /** Docker's. */
  Healthcheck?: Healthcheck | null;
  /** Docker's. */
  Shell?: string[] | null;
  /** Docker's. */
  OnBuild?: string[] | null;
}

/** Times in nanoseconds; 0 means inherited. */
export interface Healthcheck {
  /** [] inherit, ['NONE'], ['CMD', …args], ['CMD-SHELL', command]. */
  Test?: string[] | null;
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

export interface HistoryEntry {
  /** RFC 3339. */
  created?: string;
  author?: string;
  created_by?: string;
  comment?: string;
  /** True where the step made no layer. */
  empty_layer?: boolean;
}

/** OCI image-spec v1.1.1, config.md. Members that are not named here stay in `value` as they were. */
export interface ImageConfig {
  /** RFC 3339. */
  created?: string;
  author?: string;
  architecture: string;
  os: string;
  variant?: string;
  'os.version'?: string;
  'os.features'?: string[];
  config?: RunConfig | null;
  rootfs: { type: 'layers'; diff_ids: Digest[] };
  history?: HistoryEntry[] | null;
}

export interface ParsedConfig {
  value: ImageConfig;
  /** Byte-exact. */
  bytes: Uint8Array;
}

/** Throws `BAD_CONFIG`: which field, wanted, got. */
export function parseConfig(bytes: Uint8Array): ParsedConfig {
  const root = parseJson(bytes, 'BAD_CONFIG', 'image config');
  for (const name of ['architecture', 'os', 'created', 'author', 'variant', 'os.version']) {
    root.get(name).optional('string');
  }
  root.get('os.features').optional('strings');
  const run = root.get('config');
  if (run.present) checkRunConfig(run);
  for (const entry of root.get('history').list()) checkHistory(entry);
  const rootfs = root.get('rootfs');
  if (!rootfs.present) throw rootfs.bad('an object with type and diff_ids');
  if (rootfs.get('type').value !== 'layers') throw rootfs.get('type').bad('"layers"');
  const diffIds = rootfs
    .get('diff_ids')
    .list()
    .map((item) => item.digest());
  const value = root.object() as unknown as ImageConfig;
  return {
    value: {
      ...value,
      architecture: value.architecture ?? '',
      os: value.os ?? '',
      rootfs: { ...value.rootfs, diff_ids: diffIds },
    },
    bytes,
  };
}

function checkRunConfig(run: Field): void {
  for (const name of ['User', 'WorkingDir', 'StopSignal']) run.get(name).optional('string');
  for (const name of ['Env', 'Entrypoint', 'Cmd', 'Shell', 'OnBuild']) run.get(name).optional('strings');
  for (const name of ['ExposedPorts', 'Volumes']) run.get(name).optional('map');
  run.get('Labels').optional('string map');
  run.get('StopTimeout').optional('number');
  const health = run.get('Healthcheck');
  if (!health.present) return;
  health.get('Test').optional('strings');
  for (const name of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval', 'Retries']) {
    health.get(name).optional('number');
  }
}

function checkHistory(entry: Field): void {
  for (const name of ['created', 'author', 'created_by', 'comment']) entry.get(name).optional('string');
  entry.get('empty_layer').optional('boolean');
}
