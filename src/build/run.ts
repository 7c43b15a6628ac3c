import type { ByteString } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { chompTabs, parseHeredocWord } from '../formats/dockerfile/heredoc.ts';
import type { RunInstruction } from '../formats/dockerfile/instruction.ts';
import type { RunConfig } from '../oci/config.ts';
import type { ResourceOptions } from '../runtime/spec.ts';
import type { Lease } from '../store/lease.ts';
import { BuildError } from './errors.ts';
import type { StepProgress } from './events.ts';
import { debugShell, type OnFailure } from './failure.ts';
import type { RunMount, SecretVariable } from './mounts/mounts.ts';
import { runConfig, type StageState, shellOf } from './state.ts';

export type RunNetwork = 'host' | 'none';

/** What the builder's flags say of every RUN. */
export interface RunSettings {
  /** The build argument BUILDKIT_SANDBOX_HOSTNAME. */
  hostname?: string;
  /** `NAME:ADDRESS`, for /etc/hosts. */
  extraHosts?: readonly string[];
  /** Of /dev/shm, in bytes. */
  shmSize?: number;
  ulimits?: readonly { name: string; soft: number; hard: number }[];
  cgroupParent?: string;
  /** As with BuildKit they are no part of what a step is: what it gives is the same, or nothing. */
  resources?: ResourceOptions;
}

/** Throws `BAD_HOSTNAME`. */
export function withHostname(settings: RunSettings, buildArgs: ReadonlyMap<string, string>): RunSettings {
  const hostname = buildArgs.get('BUILDKIT_SANDBOX_HOSTNAME') ?? '';
  if (hostname === '') return settings;
  if (/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(hostname)) return { ...settings, hostname };
  throw new ImagoError('BAD_HOSTNAME', 'BUILDKIT_SANDBOX_HOSTNAME is no host name', {
    want: 'up to 63 letters, digits, dots and hyphens',
    got: hostname.slice(0, 100),
  });
}

/** What `--allow` may allow. */
export type Entitlement = 'network.host' | 'security.insecure';

export interface Script {
  /** In the container. */
  path: string;
  content: string;
}

export interface RunRequest {
  /** Layers that the command sees, the lowest first. */
  diffIds: readonly Digest[];
  /** Of the image so far: user, working directory. */
  config: RunConfig;
  args: readonly string[];
  /** NAME=value, ENV and ARG and the proxies. */
  env: readonly string[];
  network: RunNetwork;
  /** Executable files that are there while the command runs, and leave no trace. */
  scripts: readonly Script[];
  /** They leave no trace, either. */
  mounts: readonly RunMount[];
  secretVariables: readonly SecretVariable[];
  /** All capabilities, devices and system calls. */
  insecure: boolean;
  settings: RunSettings;
  /** What the layers have at a path 'a/b'; asked for seldom. */
  lower(path: ByteString): 'directory' | 'other' | undefined;
  /** Of the build: what it adds holds until the build is done. */
  lease: Lease;
  signal?: AbortSignal;
  /** On this process's own terminal; what it changes is discarded. */
  terminal?: boolean;
  onOutput(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  /** Is waited for, before what the command left goes away. `shell` runs in it, `args` in place of the command's. */
  onFailed?(
    end: { status: number } | { error: Error },
    shell: (args: readonly string[]) => Promise<number>,
  ): Promise<void>;
}

export interface RunOutcome {
  /** Exit status of the command; 128 + n where signal n ended it. */
  status: number;
  /** What it changed; undefined where it changed nothing, or failed. */
  layer?: { diffId: Digest; tarSize: number };
}

/** Runs a command on top of layers and takes what it changed as a layer. The engine gives the real one. */
export type RunStep = (request: RunRequest) => Promise<RunOutcome>;

/** A RUN with all that shapes it resolved. */
export interface PreparedRun {
  args: string[];
  network: RunNetwork;
  insecure: boolean;
  scripts: Script[];
}

/** `network` is that of the builder's flags. Throws `NOT_ALLOWED`, `NO_COMMAND`. */
export function prepareRun(
  state: StageState,
  instruction: RunInstruction,
  network: RunNetwork,
  allow: readonly Entitlement[],
): PreparedRun {
  const own = instruction.network;
  const insecure = instruction.security === 'insecure';
  if (insecure && !allow.includes('security.insecure')) {
    throw new ImagoError('NOT_ALLOWED', 'security.insecure is not allowed', {
      remedy: 'RUN --security=insecure gives the command all rights on this machine: --allow security.insecure',
    });
  }
  if (own === 'host' && !allow.includes('network.host')) {
    throw new ImagoError('NOT_ALLOWED', 'network.host is not allowed', {
      remedy:
        "RUN --network=host asks for this machine's network: --allow network.host, or --network host for all steps",
    });
  }
  const { words, scripts } = commandWords(instruction);
  if (words.length === 0 && !instruction.shell) throw new ImagoError('NO_COMMAND', 'RUN has no command');
  return {
    args: instruction.shell ? [...shellOf(state), words.join(' ')] : words,
    network: own === 'none' || own === 'host' ? own : network,
    insecure,
    scripts,
  };
}

/**
 * A lone heredoc is the shell's script itself or, with an interpreter line, a file that is run; others go to the shell
 * as they are written.
 */
function commandWords({ args, heredocs }: RunInstruction): { words: string[]; scripts: Script[] } {
  const [doc] = heredocs;
  if (doc === undefined) return { words: args, scripts: [] };
  if (parseHeredocWord(args[0] ?? '') === undefined) {
    const bodies = heredocs.map(({ content, name }) => `\n${content}${name}`);
    return { words: [args.join(' ') + bodies.join('')], scripts: [] };
  }
  const content = doc.chomp ? chompTabs(doc.content) : doc.content;
  if (!content.startsWith('#!')) return { words: [content], scripts: [] };
  const path = `/dev/pipes/${doc.name.replaceAll('/', '_')}`;
  return { words: [path], scripts: [{ path, content }] };
}

/** What only some steps have, so that the keys of all others stay as they are. */
export function runKey(insecure: boolean, settings: RunSettings, mounts: { key: readonly unknown[] }): unknown[] {
  const { extraHosts = [], shmSize, ulimits = [], hostname } = settings;
  const own = [insecure, [...extraHosts].sort(), shmSize, ulimits, mounts.key];
  const usual = own.every((part) => part === false || part === undefined || (part as unknown[]).length === 0);
  return [...(usual ? [] : own), ...(hostname === undefined ? [] : ['hostname', hostname])];
}

const PROXIES = new Set(['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy', 'all_proxy']);

/**
 * Proxies given by --build-arg are in every RUN's environment, in both spellings, without an ARG; then they are
 * neither in the cache's key nor in the history.
 */
function proxyEnvironment(buildArgs: ReadonlyMap<string, string>): [string, string][] {
  const out = new Map<string, string>();
  for (const [name, value] of buildArgs) {
    if (!PROXIES.has(name.toLowerCase())) continue;
    out.set(name.toUpperCase(), value);
    out.set(name.toLowerCase(), value);
  }
  return [...out];
}

/**
 * What a RUN finds in its environment: `env` is in its key, `proxies` of `--build-arg` are not. A proxy that an ARG
 * declares is an ordinary variable.
 */
export function runVariables(
  state: StageState,
  buildArgs: ReadonlyMap<string, string>,
): Record<'env' | 'proxies', [string, string][]> {
  const declared = new Set(state.args);
  // Set by ENV, so that it is the image's own.
  const own = (key: string): boolean => (runConfig(state).Env ?? []).some((entry) => entry.startsWith(`${key}=`));
  return {
    env: [...state.env].filter(([key]) => !isProxy(key) || declared.has(key) || own(key)),
    proxies: proxyEnvironment(buildArgs).filter(([key]) => !declared.has(key) && !state.env.has(key)),
  };
}

export function isProxy(name: string): boolean {
  return PROXIES.has(name.toLowerCase());
}

/** As Docker's history: `|2 A=1 B=2 /bin/sh -c make`, the ARGs in scope first. */
export function runHistory(state: StageState, args: readonly string[]): string {
  const declared = state.args.map((name) => `${name}=${state.env.get(name) ?? ''}`);
  const count = declared.length > 0 ? [`|${declared.length}`] : [];
  return ['RUN', ...count, ...declared, ...args].join(' ');
}

const KEPT_OUTPUT = 8192;

/** Runs the command; a status other than 0 is an error that carries the end of the output. */
export async function executeRun(
  run: RunStep,
  request: Omit<RunRequest, 'onOutput' | 'onFailed' | 'config'>,
  state: StageState,
  progress: StepProgress,
  at: { line: number; endLine: number; step: string },
  onFailure?: OnFailure,
): Promise<RunOutcome['layer']> {
  let tail = Buffer.alloc(0);
  const outcome = await run({
    ...request,
    config: runConfig(state),
    onOutput: (stream, data) => {
      tail = Buffer.concat([tail, data]).subarray(-KEPT_OUTPUT);
      progress.output(stream, data);
    },
    onFailed: async (end, shell) => {
      const error = 'error' in end ? end.error : failedRun(request.args, end.status, at, tail);
      await onFailure?.({ step: at.step, error, shell: () => shell(debugShell(state)) });
    },
  });
  if (outcome.status === 0) return outcome.layer;
  throw failedRun(request.args, outcome.status, at, tail);
}

function failedRun(
  args: readonly string[],
  status: number,
  at: { line: number; endLine: number; step: string },
  tail: Buffer,
): BuildError {
  const words = `process ${JSON.stringify(args.join(' '))} did not complete successfully: exit code: ${status}`;
  return new BuildError('RUN_FAILED', words, at, at.step, lastLines(tail), { exitCode: 1 });
}

/** Begins with a whole line where more was said than is kept. */
function lastLines(tail: Buffer): string {
  const cut = tail.length < KEPT_OUTPUT ? 0 : tail.indexOf(10) + 1;
  return tail.subarray(cut).toString();
}
