import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import type { RunOutcome, RunRequest, RunStep, Script } from '../build/run.ts';
import type { ThreadedStep } from '../container/step-thread.ts';
import { END_OF_ARCHIVE } from '../formats/tar/write.ts';
import type { SpecMount } from '../runtime/spec-types.ts';
import { needRoot } from '../snapshot/privilege.ts';
import { openSnapshotter } from '../snapshot/snapshotter.ts';
import { writeUpperTar } from '../snapshot/upper-tar.ts';
import { Ingest } from '../store/ingest.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { Store } from '../store/store.ts';

/** RUN as it is: a container's process on an overlay whose upper directory becomes the layer. */
export function createRunStep(store: Store): RunStep {
  return async (request) => {
    // Before anything is made, and in better words than those of what would fail.
    needRoot('run a step of a build');
    // Locked while this process lives: what a kill leaves behind goes with the next prune.
    using ingest = Ingest.create(store, 'run');
    const upper = ingest.path('upper');
    const mounts = request.scripts.map((script, i) => mountScript(script, ingest.path(`script-${i}`)));
    const status = await runCommand(store, request, { upper, work: ingest.path('work'), mounts });
    return status === 0 ? { status, layer: await takeLayer(store, request, upper) } : { status };
  };
}

function mountScript({ path, content }: Script, source: string): SpecMount {
  writeFileSync(source, content);
  chmodSync(source, 0o755);
  return { destination: path, type: 'bind', source, options: ['rbind', 'ro'] };
}

async function runCommand(
  store: Store,
  request: RunRequest,
  places: Pick<ThreadedStep, 'upper' | 'work' | 'mounts'>,
): Promise<number> {
  const { runStepInThread } = await import('../container/step-thread.ts');
  const { diffIds, config, args, env, network, signal, onOutput } = request;
  const step: ThreadedStep = {
    diffIds,
    ...places,
    args: [...args],
    env: [...env],
    cwd: config.WorkingDir || '/',
    user: config.User ?? '',
    network,
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
