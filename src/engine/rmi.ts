import { listRecords } from '../container/record.ts';
import { containerState } from '../container/state.ts';
import { type Digest, shortId } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Image } from '../image/image.ts';
import { type ResolvedImage, resolveName } from '../image/resolve.ts';
import { keepUntagged, referencesTo, shownReferences, untaggedReference } from '../image/tags.ts';
import { familiarReference, formatReference, parseReference } from '../oci/reference.ts';
import { layerHooks } from '../snapshot/layer-hooks.ts';
import { removeUnreached } from '../store/prune.ts';
import type { RefRecord } from '../store/refs.ts';
import type { Store } from '../store/store.ts';

export interface RemoveImageOptions {
  /** Remove it although it has other names, or a container that does not run was made of it. */
  force?: boolean;
}

/** What happened, in the order of Docker's output. */
export type Removal = { untagged: string } | { deleted: Digest };

interface Users {
  /** IDs of containers. */
  running: string[];
  stopped: string[];
}

/**
 * Removes an image by name or ID, by Docker's rules (moby v28 daemon/images/image_delete.go): one of several names is
 * only taken off; the last one goes with the image, and with all that nothing else uses.
 * Throws `IMAGE_IN_USE` with Docker's words, and what resolving a name throws.
 */
export async function removeImage(store: Store, name: string, options: RemoveImageOptions = {}): Promise<Removal[]> {
  const resolved = resolveReadable(store, name);
  if ('damaged' in resolved) {
    const removal = untag(store, resolved.damaged.reference);
    await removeUnreached(store, [resolved.damaged.descriptor.digest], await layerHooks(store));
    return [removal];
  }
  const { image, reference } = resolved;
  const key = reference !== undefined && store.getRef(reference) !== undefined ? reference : undefined;
  const names = referencesTo(store, image.id);
  const users = findUsers(store, image.id);
  if (key !== undefined) return removeName(store, { image, name, key, names, users }, options);
  checkConflicts(image.id, users, shownReferences(names), options.force === true);
  const out: Removal[] = names.map((other) => untag(store, other));
  return [...out, ...(await deleteImage(store, image))];
}

interface Target {
  image: Image;
  /** As the user wrote it. */
  name: string;
  key: string;
  names: string[];
  users: Users;
}

async function removeName(
  store: Store,
  { image, name, key, names, users }: Target,
  options: RemoveImageOptions,
): Promise<Removal[]> {
  const user = users.running[0] ?? users.stopped[0];
  const going = [key, ...lostWith(key, names)];
  const last = going.length === names.length;
  if (options.force !== true && last && user !== undefined) {
    const summary = `conflict: unable to remove repository reference "${name}" (must force)`;
    throw inUse(`${summary} - container ${shortId(user)} is using its referenced image ${shortId(image.id)}`);
  }
  const out: Removal[] = going.map((reference) => untag(store, reference));
  if (!last) {
    // Another name may stand for another manifest of the same image.
    await removeUnreached(store, [image.target.digest], await layerHooks(store));
    return out;
  }
  if (users.running.length > 0) {
    keepUntagged(store, image.descriptor);
    return out;
  }
  return [...out, ...(await deleteImage(store, image))];
}

/** The digests of a repository go with its last tag. */
function lostWith(key: string, names: readonly string[]): string[] {
  if (key.includes('@')) return [];
  const others = names.filter((name) => name !== key);
  const shown = new Set(shownReferences(others));
  const before = shownReferences(names);
  return others.filter((name) => shown.has(name) && !before.includes(name));
}

function untag(store: Store, reference: string): Removal {
  store.deleteRef(reference);
  return { untagged: familiarReference(parseReference(reference, { defaultTag: false })) };
}

async function deleteImage(store: Store, image: Image): Promise<Removal[]> {
  for (const { digest } of [image.descriptor, image.target]) store.deleteRef(untaggedReference(digest));
  const { layers } = await removeUnreached(
    store,
    [image.target.digest, image.descriptor.digest],
    await layerHooks(store),
  );
  const gone = new Set(layers);
  const chains = image.chainIds.filter((_, i) => gone.has(image.diffIds[i]!)).reverse();
  return [image.id, ...chains].map((deleted) => ({ deleted }));
}

function checkConflicts(id: Digest, users: Users, names: string[], force: boolean): void {
  const refuse = (how: string, why: string): ImagoError =>
    inUse(`conflict: unable to delete ${shortId(id)} (${how}) - ${why}`);
  const [running] = users.running;
  const [stopped] = users.stopped;
  if (running !== undefined) {
    throw refuse('cannot be forced', `image is being used by running container ${shortId(running)}`);
  }
  if (force) return;
  if (names.length > 1) throw refuse('must be forced', 'image is referenced in multiple repositories');
  if (stopped !== undefined) {
    throw refuse('must be forced', `image is being used by stopped container ${shortId(stopped)}`);
  }
}

function inUse(summary: string): ImagoError {
  return new ImagoError('IMAGE_IN_USE', summary);
}

function findUsers(store: Store, id: Digest): Users {
  const users: Users = { running: [], stopped: [] };
  for (const record of listRecords(store)) {
    if (record.image.id !== id) continue;
    const running = containerState(store, record).status === 'running';
    users[running ? 'running' : 'stopped'].push(record.id);
  }
  return users;
}

/** A name whose manifest or config is missing or damaged can still be taken away. */
function resolveReadable(store: Store, name: string): ResolvedImage | { damaged: RefRecord } {
  try {
    return resolveName(store, name);
  } catch (error) {
    if (!(error instanceof ImagoError) || ['IMAGE_NOT_FOUND', 'AMBIGUOUS_ID', 'BAD_REFERENCE'].includes(error.code)) {
      throw error;
    }
    const reference = /^(?:sha256:)?[0-9a-f]{64}$/.test(name) ? undefined : formatReference(parseReference(name));
    const descriptor = reference === undefined ? undefined : store.getRef(reference);
    if (reference === undefined || descriptor === undefined) throw error;
    return { damaged: { reference, descriptor } };
  }
}
