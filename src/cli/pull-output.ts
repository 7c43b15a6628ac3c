import type { PullEvent } from '../engine/pull-events.ts';
import { createProgress, type Progress, type ProgressState } from './progress.ts';

type Output = Parameters<typeof createProgress>[0];
type LayerEvent = Extract<PullEvent, { type: 'layer' }>;

/** Prints a pull as Docker does: a line for each layer, redrawn on a terminal; then the digest. */
export class PullPrinter {
  readonly #out: Output;
  #progress: Progress | undefined;

  constructor(out: Output) {
    this.#out = out;
  }

  print(event: PullEvent): void {
    switch (event.type) {
      case 'image':
        this.#progress = createProgress(this.#out);
        this.#progress.update(event.tag, { status: `Pulling from ${event.repository}` });
        break;
      case 'layer':
        // How far it is tells a log nothing.
        if (event.status === 'downloading' && this.#out.isTTY !== true) break;
        this.#progress?.update(shortDigest(event.digest), describeLayer(event));
        break;
      case 'done':
        this.close();
        this.#out.write(`Digest: ${event.digest}\n`);
    }
  }

  /** Leaves on the screen what is there. */
  close(): void {
    this.#progress?.close();
    this.#progress = undefined;
  }
}

/** Docker's last words on one image, or on all of a repository. */
export function pullStatus(name: string, changed: boolean): string {
  return `Status: ${changed ? 'Downloaded newer image' : 'Image is up to date'} for ${name}\n`;
}

function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}

function describeLayer({ status, done, total, delayMs }: LayerEvent): ProgressState {
  switch (status) {
    case 'pulling':
      return { status: 'Pulling fs layer' };
    case 'waiting':
      return { status: 'Waiting' };
    case 'downloading':
      return { status: 'Downloading', done, total };
    case 'retrying':
      return { status: `Retrying in ${Math.max(1, Math.ceil((delayMs ?? 0) / 1000))} seconds` };
    case 'downloaded':
      return { status: 'Download complete' };
    case 'complete':
      return { status: 'Pull complete', finished: true };
    case 'exists':
      return { status: 'Already exists', finished: true };
  }
}
