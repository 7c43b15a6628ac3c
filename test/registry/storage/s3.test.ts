import { openStorage } from '../../../src/registry/storage/open.ts';
import { storageContract } from '../../contracts/registry-storage.ts';
import { s3SkipReason, startS3 } from '../rgw.ts';

storageContract('S3', s3SkipReason(), async () => {
  const s3 = await startS3();
  const url = s3.url();
  return { open: () => openStorage(url), [Symbol.asyncDispose]: () => s3[Symbol.asyncDispose]() };
});
