import { parentPort } from 'node:worker_threads';
import { Store } from '../store/store.ts';
import { reapEnded } from '../system/process.ts';
import { packError } from '../system/worker-error.ts';
import { runStep } from './step.ts';
import type { StepMessage, StepReply } from './step-thread.ts';

const port = parentPort!;
const reply = (message: StepReply): void => port.postMessage(message);
let stop: AbortController | undefined;

port.on('message', (message: StepMessage) => {
  if ('abort' in message) {
    stop?.abort();
    return;
  }
  stop = new AbortController();
  const { root, run, options } = message;
  runStep(Store.open({ root, run }), {
    ...options,
    signal: stop.signal,
    stdout: (data) => reply({ stream: 'stdout', data }),
    stderr: (data) => reply({ stream: 'stderr', data }),
  })
    .finally(reapEnded)
    .then(
      (status) => reply({ status }),
      (error: unknown) => reply({ error: packError(error) }),
    );
});
