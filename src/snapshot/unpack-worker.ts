import { serveJobs } from '../system/worker-serve.ts';
import { runUnpack } from './unpack-job.ts';

serveJobs(runUnpack);
