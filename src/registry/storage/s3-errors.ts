import { ImagoError } from '../../core/errors.ts';

/** What the SDK puts on its errors, and Node on the ones below. */
export interface S3Fault {
  name?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number; attempts?: number };
}

export interface S3Context {
  /** 'read', 'write', 'delete', 'list'. */
  op: string;
  bucket: string;
  key: string;
  endpoint: string | undefined;
}

export function isMissing(error: unknown): boolean {
  const { name } = error as S3Fault;
  return name === 'NoSuchKey' || (name === 'NotFound' && statusOf(error) === 404);
}

/** A condition (`If-Match`, `If-None-Match`) that did not hold; 409 where two conditional writes met at AWS. */
export function isRefused(error: unknown): boolean {
  const status = statusOf(error);
  const { name } = error as S3Fault;
  return status === 412 || (status === 409 && name === 'ConditionalRequestConflict');
}

function statusOf(error: unknown): number | undefined {
  return (error as S3Fault).$metadata?.httpStatusCode;
}

const DENIED = [
  'SignatureDoesNotMatch',
  'InvalidAccessKeyId',
  'AccessDenied',
  'Forbidden',
  'ExpiredToken',
  'InvalidToken',
];
const FULL = ['QuotaExceeded', 'InsufficientStorage', 'XMinioStorageFull'];

/** An error of S3 in words: bucket and key, what went wrong, what to do. Never has keys of access or signatures. */
export function explainS3Error(error: unknown, context: S3Context): ImagoError {
  if (error instanceof ImagoError) return error;
  const fault = error as S3Fault;
  const status = statusOf(error);
  const ref = `s3://${context.bucket}/${context.key}`;
  const where = context.endpoint ?? 'Amazon S3';
  const details = { op: `${context.op} S3`, ref, cause: error };
  const got = [status, fault.name ?? fault.code].filter((part) => part !== undefined).join(' ');
  if (fault.name === 'NoSuchBucket') {
    return new ImagoError('STORAGE_NO_BUCKET', `there is no bucket '${context.bucket}' at ${where}`, {
      ...details,
      remedy: 'create it, or correct its name',
    });
  }
  if (fault.name === 'CredentialsProviderError') {
    return new ImagoError('STORAGE_NO_KEYS', `no keys for the bucket '${context.bucket}' were found`, {
      ...details,
      remedy: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of the AWS SDK',
    });
  }
  if (status === 401 || status === 403 || DENIED.includes(fault.name ?? '')) {
    const remedy = 'check the keys, the clock, and what they may do: get, put, delete and list';
    return new ImagoError('STORAGE_DENIED', `${where} refuses to ${context.op} ${ref}`, { ...details, got, remedy });
  }
  if (status === 507 || FULL.includes(fault.name ?? '')) {
    const remedy = 'raise the quota, or collect garbage';
    return new ImagoError('STORAGE_FULL', `${where} has no room left for ${ref}`, { ...details, got, remedy });
  }
  return new ImagoError('STORAGE_UNAVAILABLE', `${where} failed to ${context.op} ${ref}`, {
    ...details,
    got: got === '' ? String(fault.message) : got,
    remedy: 'check the endpoint and the network, and try again',
  });
}
