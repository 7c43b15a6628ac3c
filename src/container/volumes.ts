import { closeSync, constants, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { bindMount, tmpfsMount } from '../runtime/default-mounts.ts';
import type { SpecMount } from '../runtime/spec-types.ts';
import type { Store } from '../store/store.ts';
import { SystemError } from '../system/call.ts';
import { openConfined } from '../system/confined.ts';
import { lockFile } from '../system/lock.ts';
import { randomHex } from '../system/random.ts';
import type { MountRequest } from './mount-request.ts';

/** Docker's place for a volume's files, one level down: what else belongs to a volume goes beside them. */
export function volumeData(store: Store, name: string): string {
  return join(store.root, 'volumes', name, '_data');
}

/** Names the anonymous volumes of a container to be. */
export function nameVolumes(mounts: readonly MountRequest[]): MountRequest[] {
  return mounts.map((mount) =>
    mount.type === 'volume' && mount.name === undefined ? { ...mount, name: randomHex(32) } : mount,
  );
}

/** Host paths of the volumes that go with their container on `--rm` and `rm -v`. */
export function anonymousVolumes(store: Store, mounts: readonly MountRequest[]): string[] {
  return mounts.flatMap((mount) =>
    mount.type === 'volume' && mount.anonymous && mount.name !== undefined
      ? [join(store.root, 'volumes', mount.name)]
      : [],
  );
}

/**
 * Makes the sources of a container's mounts: missing directories of binds, as Docker's -v; volumes, a new one filled
 * with what the image has in its place. `root` is the mounted root file system. Throws `BAD_MOUNT`.
 */
export async function realizeMounts(store: Store, mounts: readonly MountRequest[], root: number): Promise<SpecMount[]> {
  const out: SpecMount[] = [];
  for (const mount of mounts) {
    const options = mount.options.filter((option) => !['nocopy', 'z', 'Z'].includes(option));
    if (mount.type === 'tmpfs') {
      out.push(tmpfsMount(mount.destination, options));
    } else if (mount.type === 'bind') {
      makeBindSource(mount.source, mount.destination, root);
      out.push(bindMount(mount.source, mount.destination, options));
    } else {
      const source = volumeData(store, mount.name!);
      await makeVolume(store, mount.name!, mount.options.includes('nocopy') ? undefined : mount.destination, root);
      out.push(bindMount(source, mount.destination, options));
    }
  }
  return out;
}

function makeBindSource(source: string, destination: string, root: number): void {
  if (!existsSync(source)) mkdirSync(source, { recursive: true });
  const isDirectory = statSync(source).isDirectory();
  const target = openInside(root, destination);
  if (target === undefined) return;
  closeSync(target.fd);
  if (target.isDirectory === isDirectory) return;
  throw new ImagoError('BAD_MOUNT', `cannot mount ${source} over ${destination}: one is a directory, one is not`, {
    want: target.isDirectory ? 'a directory' : 'a file',
    got: isDirectory ? 'a directory' : 'a file',
    exitCode: 125,
  });
}

/** An empty volume takes the contents, owner and permissions of the directory it is mounted over. */
async function makeVolume(store: Store, name: string, copyFrom: string | undefined, root: number): Promise<void> {
  const data = volumeData(store, name);
  mkdirSync(data, { recursive: true, mode: 0o755 });
  if (copyFrom === undefined) return;
  using _lock = lockFile(join(data, '..', 'lock'), 'exclusive');
  if (readdirSync(data).length > 0) return;
  const from = openInside(root, copyFrom);
  if (from === undefined) return;
  try {
    if (from.isDirectory) await copyTree(from.fd, data);
  } finally {
    closeSync(from.fd);
  }
}

/** With every attribute, by the system's own cp: nothing in Node keeps xattrs and hardlinks. */
async function copyTree(from: number, to: string): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const source = `/proc/${process.pid}/fd/${from}/.`;
  const result = spawnSync('cp', ['-a', '--', source, to], { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (result.status === 0) return;
  throw new ImagoError('VOLUME_NOT_FILLED', "cannot copy the image's files into a new volume", {
    path: to,
    got: (result.error?.message ?? result.stderr).trim().split('\n').at(-1) ?? '',
    exitCode: 125,
  });
}

function openInside(root: number, path: string): { fd: number; isDirectory: boolean } | undefined {
  try {
    const fd = openConfined(root, path, constants.O_RDONLY | constants.O_DIRECTORY);
    return { fd, isDirectory: true };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === 'ENOENT') return undefined;
    if (error.code !== 'ENOTDIR') throw error;
  }
  try {
    return { fd: openConfined(root, path, constants.O_RDONLY | constants.O_NONBLOCK), isDirectory: false };
  } catch {
    return undefined;
  }
}
