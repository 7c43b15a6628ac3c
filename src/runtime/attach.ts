import type { Readable, Writable } from 'node:stream';
import { connectPackets, type PacketSocket } from '../system/seqpacket.ts';
import { MONITOR_FILES } from './conmon.ts';
import { DetachScanner } from './detach-keys.ts';

/** First byte of each packet from conmon (conmon, conn_sock.c: STDOUT_PIPE, STDERR_PIPE). A terminal is all stdout. */
const STDERR = 3;
/** conmon reads this much at a time; of a longer packet it would lose the rest. */
const MAX_INPUT = 8192;

export interface AttachStreams {
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** What leaves the container running and ends the attachment; undefined for none. */
  detachKeys?: Uint8Array;
}

export interface Attachment {
  /** Settles when the container's output has ended, or the user has left by the detach keys. */
  readonly ended: Promise<'ended' | 'detached'>;
  /** Ends it, and with it the reading of the input. */
  close(): void;
}

/** Attaches to a container that conmon holds. Attached before the start, nothing of the output is missed. */
export function attach(bundle: string, streams: AttachStreams): Attachment {
  const socket = connectPackets(bundle, MONITOR_FILES.attach);
  const { stream } = socket;
  let detach: () => void = () => {};
  const ended = new Promise<'ended' | 'detached'>((resolve) => {
    detach = () => resolve('detached');
    stream.once('end', () => resolve('ended'));
    stream.once('close', () => resolve('ended'));
    // conmon is gone: what it wrote last has been read.
    stream.on('error', () => resolve('ended'));
  });
  stream.on('data', (packet: Buffer) => {
    const output = packet[0] === STDERR ? streams.stderr : streams.stdout;
    if (output === undefined || output.destroyed || output.write(packet.subarray(1))) return;
    stream.pause();
    output.once('drain', () => stream.resume());
  });
  // The reader of our output has left (a closed pipe): the container's output must not stop for that.
  for (const output of [streams.stdout, streams.stderr]) output?.on('error', () => {});
  if (streams.stdin !== undefined) void pumpInput(socket, streams.stdin, streams.detachKeys, detach);
  const close = (): void => {
    streams.stdin?.destroy();
    stream.destroy();
  };
  return { ended, close };
}

async function pumpInput(
  socket: PacketSocket,
  input: Readable,
  detachKeys: Uint8Array | undefined,
  detach: () => void,
): Promise<void> {
  const scanner = detachKeys === undefined ? undefined : new DetachScanner(detachKeys);
  try {
    for await (const chunk of input) {
      const bytes = Buffer.from(chunk as Uint8Array);
      const found = scanner?.push(bytes) ?? { pass: bytes, detached: false };
      for (let at = 0; at < found.pass.length; at += MAX_INPUT) {
        await writePacket(socket, found.pass.subarray(at, at + MAX_INPUT));
      }
      if (found.detached) return detach();
    }
  } catch {
    // The input broke, or the container is gone: either way, there is no more.
  }
  socket.endWriting();
}

function writePacket(socket: PacketSocket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.stream.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
