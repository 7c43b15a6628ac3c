import { familiarReference, parseReference } from '../oci/reference.ts';
import type { PullOptions } from '../transfer/pull.ts';
import type { PullEvent } from '../transfer/pull-events.ts';
import { createProgress, type Progress, type ProgressState } from './progress.ts';

type Output = Parameters<typeof createProgress>[0];
type LayerEvent = Extract<PullEvent, { type: 'layer' }>;

/** Prints a pull as Docker does: a line for each layer, redrawn on a terminal; then the digest. */
export class PullPrinter {
  readonly #out: Output;
  readonly #layers: Set<string> = new Set();
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
        this.#layers.add(event.digest);
        this.#progress?.update(shortDigest(event.digest), describeLayer(event));
        break;
      case 'retry':
        this.#printRetry(event);
        break;
      case 'done':
        this.close();
        this.#out.write(`Digest: ${event.digest}\n`);
    }
  }

  #printRetry({ digest, delayMs }: Extract<PullEvent, { type: 'retry' }>): void {
    if (digest === undefined || !this.#layers.has(digest)) return;
    const seconds = Math.max(1, Math.round(delayMs / 1000));
    this.#progress?.update(shortDigest(digest), { status: `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}` });
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

/** For a command that needs an image first: tells that it is fetched, and how that goes. */
export function announcePull(
  out: Output,
  { name, missing, quiet }: { name: string; missing: boolean; quiet: boolean },
): PullOptions {
  if (missing) out.write(`Unable to find image '${familiarReference(parseReference(name))}' locally\n`);
  if (quiet) return {};
  const printer = new PullPrinter(out);
  return {
    onEvent: (event) => {
      printer.print(event);
      if (event.type === 'done')
        out.write(pullStatus(familiarReference(parseReference(event.reference)), event.changed));
    },
  };
}

function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}

function describeLayer({ status, done, total }: LayerEvent): ProgressState {
  switch (status) {
    case 'pulling':
      return { status: 'Pulling fs layer' };
    case 'waiting':
      return { status: 'Waiting' };
    case 'downloading':
      return { status: 'Downloading', done, total };
    case 'downloaded':
      return { status: 'Download complete' };
    case 'complete':
      return { status: 'Pull complete', finished: true };
    case 'exists':
      return { status: 'Already exists', finished: true };
  }
}
