import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Digest } from '../../src/core/digest.ts';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes, type TarMember } from '../../src/formats/tar/write.ts';
import type { Backend } from '../../src/snapshot/backend.ts';
import { openSnapshotter, type Snapshotter } from '../../src/snapshot/snapshotter.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import type { Lease } from '../../src/store/lease.ts';
import { Store } from '../../src/store/store.ts';
import { MNT_DETACH, MS, mount, umount } from '../../src/system/mount.ts';
import { CLONE_NEWNS, unshare } from '../../src/system/namespace.ts';
import { unshareDirectories } from '../../src/system/thread-namespace.ts';

let entered = false;

/**
 * Puts this thread and its children into a mount namespace that plays the host's: what a test leaves mounted in it,
 * the pin too, ends with the process.
 */
export function enterTestNamespace(): void {
  if (entered || process.getuid?.() !== 0) return;
  unshareDirectories();
  unshare(CLONE_NEWNS);
  mount('none', '/', 'none', MS.REC | MS.PRIVATE);
  entered = true;
}

/** A member of a tar and its content; sizes follow from that. */
export type Member = TarMember & { content?: string | Uint8Array };

export function tarOf(members: readonly Member[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const { content, ...member } of members) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    parts.push(encodeHeader(bytes === undefined ? member : { ...member, size: bytes.length }));
    if (bytes !== undefined) parts.push(bytes, paddingBytes(bytes.length));
  }
  return Buffer.concat([...parts, END_OF_ARCHIVE]);
}

export interface MountOptions {
  readonly?: boolean;
  volatile?: boolean;
}

export interface MountedRoot {
  root: string;
  upper: string;
  unmount(): void;
}

/** A store, a snapshotter over it, and places to mount at, all in one temporary directory. */
export class Rig implements Disposable {
  readonly directory: string;
  readonly store: Store;
  readonly lease: Lease;
  readonly snapshotter: Snapshotter;
  readonly #mounted: Set<string> = new Set();
  #count = 0;

  constructor(backend: Backend, base: string = bases.get(backend) ?? tmpdir()) {
    enterTestNamespace();
    this.directory = mkdtempSync(join(base, 'imago-snapshot-'));
    try {
      this.store = Store.open({ root: join(this.directory, 'root'), run: join(this.directory, 'run') });
      this.lease = this.store.lease('test');
      this.snapshotter = openSnapshotter(this.store, { backend });
    } catch (error) {
      rmSync(this.directory, { recursive: true, force: true });
      throw error;
    }
  }

  place(): string {
    const path = join(this.directory, `place${this.#count++}`);
    mkdirSync(path);
    return path;
  }

  async layer(members: readonly Member[]): Promise<Digest> {
    const tar = tarOf(members);
    async function* source(): AsyncGenerator<Uint8Array> {
      yield tar;
    }
    return (await ingestLayer(this.store, this.lease, source())).diffId;
  }

  /** By GNU tar, all that it can tell of the directory. */
  async layerOfDirectory(directory: string): Promise<Digest> {
    const path = join(this.directory, `${this.#count++}.tar`);
    const how = ['--format=pax', '--xattrs', '--xattrs-include=*', '--sparse', '--numeric-owner', '--sort=name'];
    execFileSync('tar', [...how, '-C', directory, '-cf', path, '.']);
    return (await ingestLayer(this.store, this.lease, { path })).diffId;
  }

  async layerOfStream(source: AsyncIterable<Uint8Array>): Promise<Digest> {
    return (await ingestLayer(this.store, this.lease, source)).diffId;
  }

  /** With a writable layer, unless it is to be read-only. */
  async mount(diffIds: readonly Digest[], options: MountOptions = {}): Promise<MountedRoot> {
    await this.snapshotter.prepare(diffIds);
    const place = this.place();
    const [root, upper, work] = [join(place, 'root'), join(place, 'upper'), join(place, 'work')];
    mkdirSync(root);
    if (options.readonly === true) this.snapshotter.mountRootfs({ diffIds, target: root });
    else {
      mkdirSync(work);
      this.snapshotter.createUpper(upper, diffIds);
      this.snapshotter.mountRootfs({ diffIds, upper, work, target: root, volatile: options.volatile });
    }
    this.#mounted.add(root);
    return { root, upper, unmount: () => this.#unmount(root) };
  }

  #unmount(root: string): void {
    if (this.#mounted.delete(root)) umount(root, MNT_DETACH);
  }

  [Symbol.dispose](): void {
    for (const root of this.#mounted) this.#unmount(root);
    this.lease.close();
    const pin = join(this.store.run, 'mnt');
    for (const line of mountLines(pin).reverse()) umount(line.split(' ')[4]!, MNT_DETACH);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Lines of this thread's mount table with mount points at or below `path`. */
export function mountLines(path = '/'): string[] {
  const lines = readFileSync('/proc/thread-self/mountinfo', 'utf8').trim().split('\n');
  return lines.filter((line) => `${line.split(' ')[4]}/`.startsWith(path === '/' ? '/' : `${path}/`));
}

/** Where a backend works: /tmp may be a tmpfs, which holds no index that is mounted as a file. */
const bases = new Map<Backend, string>();

/** Why this backend cannot be tested here; false where it can. */
export function skipReason(backend: Backend): string | false {
  if (process.getuid?.() !== 0) return 'needs root: mounting';
  let reason = '';
  for (const base of [tmpdir(), '/var/tmp']) {
    try {
      using _rig = new Rig(backend, base);
      bases.set(backend, base);
      return false;
    } catch (error) {
      reason ||= `${backend} does not work here: ${(error as Error).message}`;
    }
  }
  return reason;
}
