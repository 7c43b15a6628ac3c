import { existsSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { appendLayer, draftOf, type ImageDraft, tarLayer, writeImage } from '../image/draft.ts';
import { readImage } from '../image/image.ts';
import { readImageTree } from '../image/tree.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { findRuntime } from '../runtime/find-runtime.ts';
import { openSnapshotter } from '../snapshot/snapshotter.ts';
import { readUpperChanges } from '../snapshot/upper-changes.ts';
import { writeUpperTar } from '../snapshot/upper-tar.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { Change } from '../tree/diff.ts';
import { lookup } from '../tree/lookup.ts';
import { type ContainerRecord, containerPaths, stateRoot } from './record.ts';
import { containerState, isOver } from './state.ts';

export interface CommitOptions {
  author?: string;
  message?: string;
  /** Hold the container's processes meanwhile (default), so that no file changes while it is read. */
  pause?: boolean;
  /** What `--change` asks for, on the finished draft. */
  change?: (draft: ImageDraft) => ImageDraft;
  /** RFC 3339. */
  created: string;
}

/** What a container changed over its image, as `docker diff`. The writable layer is there from the first start. */
export function diffContainer(store: Store, record: ContainerRecord): Change[] {
  const { upper } = containerPaths(store, record);
  if (!existsSync(upper)) return [];
  return readUpperChanges(upper, readImageTree(store, record.image));
}

/**
 * Makes an image of a container: its image's layers, and its writable layer as one more. The new image has no name
 * yet; it is held by the lease. What is in volumes is not in it.
 */
export async function commitContainer(
  store: Store,
  lease: Lease,
  record: ContainerRecord,
  options: CommitOptions,
): Promise<{ id: Digest; descriptor: Descriptor }> {
  lease.add(record.image.descriptor.digest);
  const layer = await withPause(store, record, options.pause !== false, () => takeWholeLayer(store, lease, record));
  const base = draftOf(readImage(store, record.image.descriptor));
  const history = {
    created: options.created,
    created_by: record.process.args.join(' '),
    ...(options.author === undefined ? {} : { author: options.author }),
    ...(options.message === undefined ? {} : { comment: options.message }),
  };
  const draft = appendLayer(base, tarLayer(layer), history);
  draft.config = { ...draft.config, config: record.config };
  if (options.author !== undefined) draft.config.author = options.author;
  return writeImage(store, lease, options.change?.(draft) ?? draft);
}

interface TakenLayer {
  diffId: Digest;
  tarSize: number;
}

/** Half a writable layer, because somebody removes the container meanwhile, is none. */
async function takeWholeLayer(store: Store, lease: Lease, record: ContainerRecord): Promise<TakenLayer> {
  const isThere = (): boolean =>
    existsSync(containerPaths(store, record).record) && !(record.autoRemove && isOver(store, record));
  try {
    const layer = await takeLayer(store, lease, record);
    if (isThere()) return layer;
  } catch (error) {
    if (isThere()) throw error;
  }
  throw new ImagoError('NO_SUCH_CONTAINER', `container ${record.name} was removed meanwhile`, {
    remedy: "'imago ps -a' lists those there are",
  });
}

async function takeLayer(store: Store, lease: Lease, record: ContainerRecord): Promise<TakenLayer> {
  const { diffIds } = record.image;
  const snapshotter = openSnapshotter(store);
  await snapshotter.prepare(diffIds);
  const { upper } = containerPaths(store, record);
  if (!existsSync(upper)) snapshotter.createUpper(upper, diffIds);
  const tree = readImageTree(store, record.image);
  const tar = writeUpperTar(upper, {
    root: snapshotter.rootAttributes(diffIds),
    lower: (path) => {
      const type = lookup(tree, path, { links: 'none' })?.type;
      return type === undefined || type === 'directory' ? type : 'other';
    },
  });
  return ingestLayer(store, lease, tar);
}

async function withPause<T>(store: Store, record: ContainerRecord, pause: boolean, work: () => Promise<T>): Promise<T> {
  if (!pause || containerState(store, record).status !== 'running') return await work();
  const { spawnSync } = await import('node:child_process');
  const runtime = await findRuntime(store.run);
  const tell = (what: 'pause' | 'resume'): void => {
    spawnSync(runtime.path, ['--root', stateRoot(store), what, record.id], { stdio: 'ignore' });
  };
  tell('pause');
  try {
    return await work();
  } finally {
    tell('resume');
  }
}
