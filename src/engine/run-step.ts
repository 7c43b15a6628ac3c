import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { type HeldCache, holdCache, keyOf } from '../build/mounts/cache.ts';
import type { RunMount, SecretVariable } from '../build/mounts/mounts.ts';
import type { RunOutcome, RunRequest, RunStep, Script } from '../build/run.ts';
import type { StepMount } from '../container/step-mounts.ts';
import type { ThreadedStep } from '../container/step-thread.ts';
import { END_OF_ARCHIVE } from '../formats/tar/write.ts';
import type { SpecMount } from '../runtime/spec-types.ts';
import { needRoot } from '../snapshot/privilege.ts';
import { openSnapshotter } from '../snapshot/snapshotter.ts';
import { writeUpperTar } from '../snapshot/upper-tar.ts';
import { Ingest } from '../store/ingest.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { Store } from '../store/store.ts';
import type { BuildAgents } from './build-agents.ts';
import type { BuildSecrets } from './build-secrets.ts';

/** What a step may be given that no image holds. */
export interface StepSecrets {
  secrets: BuildSecrets;
  agents: BuildAgents;
}

/** RUN as it is: a container's process on an overlay whose upper directory becomes the layer. */
export function createRunStep(store: Store, secrets: StepSecrets): RunStep {
  return async (request) => {
    // Before anything is made, and in better words than those of what would fail.
    needRoot('run a step of a build');
    const secretEnv = readVariables(request.secretVariables, secrets.secrets);
    using caches = new HeldCaches();
    // Locked while this process lives: what a kill leaves behind goes with the next prune.
    using ingest = Ingest.create(store, 'run');
    await caches.hold(store, request);
    const upper = ingest.path('upper');
    const mounts = request.scripts.map((script, i) => mountScript(script, ingest.path(`script-${i}`)));
    const stepMounts = await resolveMounts(request.mounts, secrets, caches, ingest);
    const places = { upper, work: ingest.path('work'), mounts, stepMounts, secretEnv, locks: caches.descriptors };
    const status = await runToEnd(store, request, places);
    return status === 0 && request.terminal !== true
      ? { status, layer: await takeLayer(store, request, upper) }
      : { status };
  };
}

/** Tells of a failure while what the command left is there. */
async function runToEnd(store: Store, request: RunRequest, places: Places): Promise<number> {
  const shell = (args: readonly string[]): Promise<number> =>
    runCommand(store, { ...request, args, terminal: true }, places);
  let status: number;
  try {
    status = await runCommand(store, request, places);
  } catch (error) {
    if (request.signal?.aborted !== true) await request.onFailed?.({ error: error as Error }, shell);
    throw error;
  }
  if (status !== 0) await request.onFailed?.({ status }, shell);
  return status;
}

/** The directories of a step's cache mounts, by target; two mounts of one cache share its lock. */
class HeldCaches implements Disposable {
  readonly #held: Map<string, HeldCache> = new Map();

  get descriptors(): number[] {
    return [...this.#held.values()].map(({ lock }) => lock.fd);
  }

  async hold(store: Store, { mounts, signal }: RunRequest): Promise<void> {
    const caches = mounts.flatMap((mount) => (mount.type === 'cache' ? [{ key: keyOf(mount), mount }] : []));
    for (const { key, mount } of caches.sort((a, b) => (a.key < b.key ? -1 : 1))) {
      if (!this.#held.has(key)) this.#held.set(key, await holdCache(store, mount, signal));
    }
  }

  path(key: string): string {
    return this.#held.get(key)!.path;
  }

  [Symbol.dispose](): void {
    for (const { lock } of this.#held.values()) lock.release();
  }
}

function readVariables(variables: readonly SecretVariable[], secrets: BuildSecrets): string[] {
  return variables.flatMap(({ name, id, required }) => {
    const value = secrets.read(id, required);
    return value === undefined ? [] : [`${name}=${Buffer.from(value).toString()}`];
  });
}

async function resolveMounts(
  mounts: readonly RunMount[],
  secrets: StepSecrets,
  caches: HeldCaches,
  ingest: Ingest,
): Promise<StepMount[]> {
  const out: StepMount[] = [];
  for (const [i, mount] of mounts.entries()) {
    const resolved = await resolveMount(mount, secrets, caches, ingest.path(`mount-${i}`));
    if (resolved !== undefined) out.push(resolved);
  }
  return out;
}

/** Undefined for a secret or an agent that is not there and need not be. */
async function resolveMount(
  mount: RunMount,
  { secrets, agents }: StepSecrets,
  caches: HeldCaches,
  scratch: string,
): Promise<StepMount | undefined> {
  const { target, readonly } = mount;
  switch (mount.type) {
    case 'tmpfs':
      return mount;
    case 'layers':
      return readonly ? mount : { ...mount, scratch: { upper: `${scratch}-upper`, work: `${scratch}-work` } };
    case 'cache': {
      const { source, owner } = mount;
      const initial = mount.initial === undefined ? {} : { initial: { ...mount.initial, owner } };
      return { type: 'directory', target, readonly, source, path: caches.path(keyOf(mount)), ...initial };
    }
    case 'secret': {
      const content = secrets.read(mount.id, mount.required);
      const { uid, gid, mode } = mount;
      return content === undefined ? undefined : { type: 'secret', target, readonly, content, uid, gid, mode };
    }
    case 'ssh': {
      const socket = await agents.socket(mount.id, mount.required);
      const { uid, gid, mode } = mount;
      return socket === undefined ? undefined : { type: 'agent', target, readonly, socket, uid, gid, mode };
    }
  }
}

function mountScript({ path, content }: Script, source: string): SpecMount {
  writeFileSync(source, content);
  chmodSync(source, 0o755);
  return { destination: path, type: 'bind', source, options: ['rbind', 'ro'] };
}

type Places = Pick<ThreadedStep, 'upper' | 'work' | 'mounts' | 'stepMounts' | 'secretEnv' | 'locks'>;

async function runCommand(store: Store, request: RunRequest, places: Places): Promise<number> {
  const { runStepInThread } = await import('../container/step-thread.ts');
  const { diffIds, config, args, env, network, insecure, settings, terminal, signal, onOutput } = request;
  const step: ThreadedStep = {
    diffIds,
    ...places,
    args: [...args],
    env: [...env],
    cwd: config.WorkingDir || '/',
    user: config.User ?? '',
    network,
    insecure,
    settings,
    terminal,
  };
  return runStepInThread(store, step, { onOutput, signal });
}

async function takeLayer(store: Store, request: RunRequest, upper: string): Promise<RunOutcome['layer']> {
  const { diffIds, lower, lease, signal } = request;
  const root = openSnapshotter(store).rootAttributes(diffIds);
  const tar = writeUpperTar(upper, { root, lower });
  if (readdirSync(upper).length === 0 && (await isEmpty(writeUpperTar(upper, { root })))) return undefined;
  const { diffId, tarSize } = await ingestLayer(store, lease, tar, { signal });
  return { diffId, tarSize };
}

/** Nothing but the end of an archive. */
async function isEmpty(tar: AsyncIterable<Uint8Array>): Promise<boolean> {
  let size = 0;
  for await (const chunk of tar) size += chunk.length;
  return size === END_OF_ARCHIVE.length;
}
