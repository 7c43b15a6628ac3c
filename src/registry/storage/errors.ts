import { ImagoError } from '../../core/errors.ts';

/** Somebody else wrote the document meanwhile: read it again, decide again. */
export function conflict(key: string): ImagoError {
  return new ImagoError('STORAGE_CONFLICT', 'the document was written by somebody else meanwhile', {
    ref: key,
    remedy: 'try again',
  });
}

export function uploadUnknown(id: string, cause?: unknown): ImagoError {
  return new ImagoError('UPLOAD_UNKNOWN', 'no such upload', {
    ref: JSON.stringify(id.slice(0, 100)),
    remedy: 'start it again: it was finished, cancelled or too old',
    cause,
  });
}

export function uploadBusy(id: string, cause?: unknown): ImagoError {
  return new ImagoError('UPLOAD_BUSY', 'another request is writing to this upload', {
    ref: id,
    remedy: 'ask for its state and go on from there',
    cause,
  });
}

/** Not all of the range that was asked for is there. */
export function blobDamaged(ref: string, want: number, got: number, cause?: unknown): ImagoError {
  return new ImagoError('STORAGE_DAMAGED', `a blob of the registry ends early (${ref})`, {
    ref,
    want: `${want} bytes`,
    got,
    remedy: 'push it again, or restore it from a backup',
    cause,
  });
}

export function uploadOffset(id: string, want: number, got: number): ImagoError {
  return new ImagoError('UPLOAD_OFFSET', 'bytes of an upload are out of order', {
    ref: id,
    want: `offset ${want}`,
    got,
    remedy: `go on at byte ${want}`,
  });
}
