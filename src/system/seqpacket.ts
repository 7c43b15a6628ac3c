import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { bindCall } from './call.ts';
import { replaceDescriptor } from './process.ts';

const socketCall = bindCall<[number, number, number]>('socket', ['int', 'int', 'int'], 'int');
const connectCall = bindCall<[number, Buffer, number]>('connect', ['int', 'void *', 'uint'], 'int');
const shutdownCall = bindCall<[number, number]>('shutdown', ['int', 'int'], 'int');

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const SHUT_WR = 1;

/**
 * A connected SOCK_SEQPACKET socket as a Node stream: every 'data' event is one packet (of up to 64 KiB).
 * Writes must not overlap, or Node joins them into one packet: wait for each one's callback.
 */
export interface PacketSocket {
  stream: Socket;
  /** Tells the other end that nothing more comes. Idempotent. */
  endWriting(): void;
}

/** `name` in `directory`; the directory's path may be longer than a socket address allows. Throws `SystemError`. */
export function connectPackets(directory: string, name: string): PacketSocket {
  // libuv refuses a descriptor of this type, but all it does with a stream's (read, write, epoll) works on packets:
  // it gets a stream socket, and the packet socket takes its number before anything is done with it.
  const carrier = socketCall(undefined, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // Loaded here: it takes 4 ms, and most commands that have this module never attach.
  const net = process.getBuiltinModule('node:net');
  const stream = new net.Socket({ fd: carrier, readable: true, writable: true, allowHalfOpen: true });
  try {
    const packets = connect(directory, name);
    replaceDescriptor(packets, carrier, false);
    closeSync(packets);
  } catch (error) {
    stream.destroy();
    throw error;
  }
  let open = true;
  const endWriting = (): void => {
    if (open && !stream.destroyed) shutdownCall(undefined, carrier, SHUT_WR);
    open = false;
  };
  return { stream, endWriting };
}

function connect(directory: string, name: string): number {
  const dirFd = openSync(directory, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY);
  const fd = socketCall(undefined, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  try {
    const path = `/proc/thread-self/fd/${dirFd}/${name}`;
    const address = Buffer.alloc(2 + path.length + 1);
    address.writeUInt16LE(AF_UNIX, 0);
    address.write(path, 2, 'latin1');
    connectCall(`${directory}/${name}`, fd, address, address.length);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  } finally {
    closeSync(dirFd);
  }
}
