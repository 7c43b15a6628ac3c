import { serveJobs } from '../system/worker-serve.ts';
import { runJob } from './run-job.ts';

serveJobs(runJob);
