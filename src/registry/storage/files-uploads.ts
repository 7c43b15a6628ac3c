import {
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writev,
} from 'node:fs';
import { promisify } from 'node:util';
import type { Digest } from '../../core/digest.ts';
import { type FileLock, tryLockIfThere } from '../../system/lock.ts';
import { randomHex } from '../../system/random.ts';
import { startWriteback } from '../../system/writeback.ts';
import { ByteFile } from './byte-file.ts';
import { uploadBusy, uploadOffset, uploadUnknown } from './errors.ts';
import { closeFile, explainFileError, type FileArea, openFile, stampVersion } from './files-area.ts';
import type { FileBlobs } from './files-blobs.ts';
import { isUploadId, pageSize } from './names.ts';
import type { ByteStream, UploadStat, UploadStorage } from './storage.ts';

const writeAt: (fd: number, buffers: readonly Uint8Array[], position: number) => Promise<{ bytesWritten: number }> =
  promisify(writev);

/** Bytes of a write: sockets hand out 64 KiB at a time, and each write is a trip to a thread. */
const BATCH = 2 ** 20;
/** Bytes after which the kernel is asked to begin with the disk, so that the sync at the end has little left. */
const WRITEBACK = 16 * 2 ** 20;

/** Uploads as `uploads/<id>/data` and `info.json`; who writes one holds the flock of its data. */
export class FileUploads implements UploadStorage {
  readonly #area: FileArea;
  readonly #blobs: FileBlobs;

  constructor(area: FileArea, blobs: FileBlobs) {
    this.#area = area;
    this.#blobs = blobs;
  }

  async createUpload(repository: string): Promise<UploadStat> {
    const id = randomHex(16);
    const aside = this.#area.temporary();
    const started = Date.now();
    try {
      mkdirSync(aside, { mode: 0o755 });
      writeFileSync(`${aside}/data`, '');
      writeFileSync(`${aside}/info.json`, `${JSON.stringify({ repository, started })}\n`);
      await this.#area.exclusive(() => this.#area.place(aside, this.#path(id)));
    } catch (error) {
      rmSync(aside, { recursive: true, force: true });
      throw explainFileError(error, this.#area.root);
    }
    return { id, size: 0, started, modified: started, repository };
  }

  async statUpload(id: string): Promise<UploadStat | undefined> {
    if (!isUploadId(id)) return undefined;
    try {
      const stats = statSync(this.#path(id, 'data'), { throwIfNoEntry: false });
      if (stats === undefined) return undefined;
      const { repository, started } = JSON.parse(readFileSync(this.#path(id, 'info.json'), 'utf8')) as UploadStat;
      return { id, size: stats.size, started, modified: Math.floor(stats.mtimeMs), repository };
    } catch (error) {
      // Published or discarded in between, or torn by a power failure: it is none.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw explainFileError(error, this.#area.root);
    }
  }

  async appendUpload(
    id: string,
    offset: number,
    source: AsyncIterable<Uint8Array>,
    done: (chunk: Uint8Array) => void = () => undefined,
  ): Promise<number> {
    using lock = this.#lock(id);
    const { size } = fstatSync(lock.fd);
    if (size !== offset) throw uploadOffset(id, size, offset);
    const fd = await this.#open(id, 'r+');
    try {
      return await appendBatches(fd, offset, source, done);
    } catch (error) {
      throw explainFileError(error, this.#area.root);
    } finally {
      await closeFile(fd);
    }
  }

  async readUpload(id: string): Promise<ByteStream> {
    const fd = await this.#open(id, 'r');
    return new ByteFile(fd, 0, fstatSync(fd).size, `upload ${id}`);
  }

  async publishUpload(id: string, digest: Digest, size: number): Promise<void> {
    using lock = this.#lock(id);
    const now = fstatSync(lock.fd).size;
    if (now !== size) throw uploadOffset(id, now, size);
    const data = this.#path(id, 'data');
    try {
      stampVersion(data);
      await this.#area.syncPath(data);
      await this.#blobs.publish(data, digest);
    } catch (error) {
      // It was cancelled meanwhile.
      throw existsSync(this.#path(id)) ? explainFileError(error, this.#area.root) : uploadUnknown(id, error);
    }
    this.#remove(id);
  }

  async discardUpload(id: string): Promise<void> {
    if (isUploadId(id)) this.#remove(id);
  }

  async listUploads(
    options: { after?: string; limit?: number } = {},
  ): Promise<{ uploads: UploadStat[]; next: string | undefined }> {
    const limit = pageSize(options.limit);
    const after = options.after ?? '';
    const uploads: UploadStat[] = [];
    const ids = readdirSync(this.#area.path('uploads')).sort();
    for (const id of ids.filter((name) => name > after)) {
      if (uploads.length === limit) return { uploads, next: uploads.at(-1)!.id };
      const upload = await this.statUpload(id);
      if (upload !== undefined) uploads.push(upload);
    }
    return { uploads, next: undefined };
  }

  /** The flock of an upload's data, which is under its name. */
  #lock(id: string): FileLock {
    if (!isUploadId(id)) throw uploadUnknown(id);
    const data = this.#path(id, 'data');
    const lock = tryLockIfThere(data, 'exclusive');
    if (lock === 'gone') throw uploadUnknown(id);
    if (lock === 'held') throw uploadBusy(id);
    // Published or discarded between the opening and the lock.
    if (statSync(data, { throwIfNoEntry: false })?.ino === fstatSync(lock.fd).ino) return lock;
    lock.release();
    throw uploadUnknown(id);
  }

  async #open(id: string, flags: string): Promise<number> {
    if (!isUploadId(id)) throw uploadUnknown(id);
    try {
      return await openFile(this.#path(id, 'data'), flags);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw uploadUnknown(id, error);
      throw explainFileError(error, this.#area.root);
    }
  }

  /** By rename, so that nobody meets half of it. */
  #remove(id: string): void {
    const trash = this.#area.temporary();
    try {
      renameSync(this.#path(id), trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw explainFileError(error, this.#area.root);
    }
    rmSync(trash, { recursive: true, force: true });
  }

  #path(id: string, ...parts: string[]): string {
    return this.#area.path('uploads', id, ...parts);
  }
}

/**
 * Writes one batch while the next comes in, and never more than that: a slow disk slows the source. What came before an
 * error of the source is written.
 */
async function appendBatches(
  fd: number,
  offset: number,
  source: AsyncIterable<Uint8Array>,
  done: (chunk: Uint8Array) => void,
): Promise<number> {
  let at = offset;
  let batch: Uint8Array[] = [];
  let batched = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = (): void => {
    const [buffers, position] = [batch, at];
    at += batched;
    batch = [];
    batched = 0;
    writing = writeBuffers(fd, buffers, position).then(() => buffers.forEach(done));
    writing.catch(() => undefined);
  };
  try {
    for await (const chunk of source) {
      if (chunk.length === 0) continue;
      batch.push(chunk);
      batched += chunk.length;
      if (batched < BATCH) continue;
      await writing;
      flush();
    }
  } finally {
    await writing;
    if (batched > 0) flush();
    await writing;
  }
  return at;
}

async function writeBuffers(fd: number, buffers: Uint8Array[], position: number): Promise<void> {
  let rest = buffers;
  let at = position;
  while (rest.length > 0) {
    const { bytesWritten } = await writeAt(fd, rest, at);
    at += bytesWritten;
    rest = dropBytes(rest, bytesWritten);
  }
  const before = Math.floor(position / WRITEBACK);
  if (Math.floor(at / WRITEBACK) > before) startWriteback(fd, before * WRITEBACK, at - before * WRITEBACK);
}

function dropBytes(buffers: Uint8Array[], count: number): Uint8Array[] {
  let left = count;
  for (const [index, buffer] of buffers.entries()) {
    if (left < buffer.length) return [buffer.subarray(left), ...buffers.slice(index + 1)];
    left -= buffer.length;
  }
  return [];
}
