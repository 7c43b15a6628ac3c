import { compare } from 'bcryptjs';
import { serveJobs } from '../../system/worker-serve.ts';

/** One password against one bcrypt hash: 60 ms and more of computing, which is why it is in a thread. */
serveJobs(({ password, hash }: { password: string; hash: string }) => compare(password, hash));
