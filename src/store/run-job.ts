import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { packError } from '../system/worker-error.ts';
import { runIngest } from './ingest-job.ts';
import { hashRegion, readInput } from './job-input.ts';
import {
  FILES,
  type HashJob,
  type HashOutcome,
  type IngestJob,
  type IngestOutcome,
  type JobInput,
  type LayerJob,
  type ReindexJob,
  type ReindexOutcome,
} from './layer-job.ts';
import { LayerReader, writeLayerFiles } from './layer-writer.ts';

export type JobOutcome<J extends LayerJob> = J extends IngestJob
  ? IngestOutcome
  : J extends ReindexJob
    ? ReindexOutcome
    : HashOutcome;

/** Does one job on this thread; `onProgress` gets the input's bytes read so far. */
export async function runJob(job: LayerJob, onProgress?: (bytes: number) => void): Promise<JobOutcome<LayerJob>> {
  if (job.kind === 'ingest') return runIngest(job, onProgress);
  if (job.kind === 'reindex') return runReindex(job, onProgress);
  return runHash(job, onProgress);
}

function runReindex(job: ReindexJob, onProgress?: (bytes: number) => void): ReindexOutcome {
  const input: JobInput = { kind: 'file', path: job.path, offset: 0, length: Number.MAX_SAFE_INTEGER };
  try {
    const reader = new LayerReader(job.algorithm);
    for (const chunk of readInput(input, onProgress)) reader.push(chunk);
    const diffId = reader.digest();
    const { image, facts } = reader.index(diffId);
    const record = { diffId, tarSize: reader.size, facts };
    if (job.directory !== undefined) writeLayerFiles(join(job.directory, FILES.layer), image, record);
    return { ...record, same: job.index !== undefined && hasBytes(job.index, image) };
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    const { digest, size } = hashRegion(input, job.algorithm);
    return { diffId: digest, size, failure: packError(error) };
  }
}

function hasBytes(path: string, bytes: Uint8Array): boolean {
  try {
    return statSync(path).size === bytes.length && Buffer.compare(readFileSync(path), bytes) === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function runHash(job: HashJob, onProgress?: (bytes: number) => void): HashOutcome {
  return hashRegion(
    { kind: 'file', path: job.path, offset: 0, length: Number.MAX_SAFE_INTEGER },
    job.algorithm,
    onProgress,
  );
}
