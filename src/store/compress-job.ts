import type { CompressionForm } from './compression-form.ts';

/** Compress a stretch of a tar so that it can stand after the ones before it. Plain data: jobs cross threads. */
export interface CompressJob {
  path: string;
  offset: number;
  length: number;
  /** Nothing follows. */
  last: boolean;
  form: CompressionForm & { kind: 'gzip' | 'zstd' };
}

export interface CompressedBlock {
  bytes: Uint8Array;
  /** CRC-32 of the stretch; 0 where the form needs none. */
  crc: number;
}
