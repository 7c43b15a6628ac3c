import type { WriteStream } from 'node:tty';
import { ImagoError } from '../core/errors.ts';
import { type Attachment, type AttachStreams, attach } from '../runtime/attach.ts';
import { findMonitor, resizeTerminal } from '../runtime/conmon.ts';
import type { Store } from '../store/store.ts';
import { makeRaw } from '../system/terminal.ts';
import { type CreateOptions, createContainer } from './create.ts';
import { signalContainer } from './kill.ts';
import { type ContainerRecord, containerPaths } from './record.ts';
import { removeContainer } from './remove.ts';
import { FORWARDED_SIGNALS, parseSignal } from './signals.ts';
import { startContainer } from './start.ts';
import { forgetExit, waitContainer } from './wait.ts';

export interface ForegroundStreams extends AttachStreams {
  /** The user's terminal where the container has one: its descriptor, to be made raw, and its size to be followed. */
  terminal?: { input: number; output: WriteStream };
}

export type ForegroundEnd = { kind: 'exited'; exitCode: number } | { kind: 'detached' };

/** `run -d`: starts a container and returns its record. With --rm, one that does not start leaves nothing. */
export async function runDetached(store: Store, options: CreateOptions): Promise<ContainerRecord> {
  findMonitor();
  const record = createContainer(store, { ...options, detached: true }, 'conmon');
  try {
    await startContainer(store, record);
  } catch (error) {
    await dropFailed(store, record);
    throw error;
  }
  return record;
}

/** `run` in the foreground: attached from before the first byte to the last. */
export async function runAttached(
  store: Store,
  options: CreateOptions,
  streams: ForegroundStreams,
): Promise<ForegroundEnd> {
  findMonitor();
  const record = createContainer(store, options, 'conmon');
  try {
    return await startAttached(store, record, streams);
  } catch (error) {
    await dropFailed(store, record);
    throw error;
  }
}

/** Starts a container and stays with it: its output, the user's input and signals, its exit status. */
export async function startAttached(
  store: Store,
  record: ContainerRecord,
  streams: ForegroundStreams,
): Promise<ForegroundEnd> {
  const session = new Session(store, record, streams);
  try {
    await startContainer(store, record, { beforeStart: (bundle) => session.attach(bundle) });
    return await session.end();
  } finally {
    session.close();
  }
}

/** Attaches to a container that runs already. */
export async function attachRunning(
  store: Store,
  record: ContainerRecord,
  streams: ForegroundStreams,
): Promise<ForegroundEnd> {
  if (record.holder === 'runtime') {
    throw new ImagoError('NOT_ATTACHABLE', `container ${record.name} belongs to the command that runs it`, {
      remedy: 'only containers started without --rm, or with -d or -t, can be attached to',
    });
  }
  const session = new Session(store, record, streams);
  try {
    session.attach(containerPaths(store, record).bundle);
    return await session.end();
  } finally {
    session.close();
  }
}

class Session {
  readonly #store: Store;
  readonly #record: ContainerRecord;
  readonly #streams: ForegroundStreams;
  readonly #undo: (() => void)[] = [];
  #attachment: Attachment | undefined;

  constructor(store: Store, record: ContainerRecord, streams: ForegroundStreams) {
    this.#store = store;
    this.#record = record;
    this.#streams = streams;
  }

  attach(bundle: string): void {
    this.#attachment = attach(bundle, this.#streams);
    const { terminal } = this.#streams;
    if (terminal === undefined) {
      this.#forwardSignals();
      return;
    }
    const resize = (): void => resizeTerminal(bundle, terminal.output.rows, terminal.output.columns);
    resize();
    terminal.output.on('resize', resize);
    const cook = makeRaw(terminal.input);
    const restore = (): void => cook?.();
    // However this process ends, its terminal must be usable.
    process.once('exit', restore);
    this.#undo.push(() => {
      restore();
      process.off('exit', restore);
      terminal.output.off('resize', resize);
    });
  }

  async end(): Promise<ForegroundEnd> {
    const how = await this.#attachment!.ended;
    if (how === 'detached') return { kind: 'detached' };
    const exitCode = await waitContainer(this.#store, this.#record);
    forgetExit(this.#store, this.#record);
    return { kind: 'exited', exitCode };
  }

  close(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#attachment?.close();
  }

  #forwardSignals(): void {
    for (const name of FORWARDED_SIGNALS) {
      const forward = (): void => {
        signalContainer(this.#store, this.#record, parseSignal(name));
      };
      process.on(name, forward);
      this.#undo.push(() => process.off(name, forward));
    }
  }
}

async function dropFailed(store: Store, record: ContainerRecord): Promise<void> {
  if (record.autoRemove) await removeContainer(store, record, { force: true, volumes: true });
}
