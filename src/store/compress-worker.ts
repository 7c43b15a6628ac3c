import { serveJobs } from '../system/worker-serve.ts';
import { compressBlock } from './compress-block.ts';
import type { CompressJob } from './compress-job.ts';

serveJobs(async (job: CompressJob) => compressBlock(job));
