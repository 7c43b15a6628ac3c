import { close } from 'node:fs';
import type { Socket } from 'node:net';
import { libcFunction } from './ffi.ts';
import { privateCopy } from './process.ts';

type Sendfile = {
  async(
    socket: number,
    file: number,
    offset: Buffer,
    count: number,
    done: (error: unknown, sent: unknown) => void,
  ): void;
};

let sendfile: Sendfile | undefined;

/**
 * Sends bytes of a file into a TCP connection without copying them into this process: sendfile(2), on a thread of the
 * pool, through a descriptor of its own: that of the socket may be another connection's once the client has gone.
 */
export class FileSender implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Undefined where the connection has no plain descriptor (TLS, a socket that is closed). */
  static open(socket: Socket): FileSender | undefined {
    const fd = (socket as { _handle?: { fd?: number } | null })._handle?.fd;
    if (fd === undefined || fd < 0 || socket.destroyed || 'encrypted' in socket) return undefined;
    try {
      sendfile ??= libcFunction('sendfile', 'long', ['int', 'int', 'void *', 'size_t']) as unknown as Sendfile;
      return new FileSender(privateCopy(fd));
    } catch {
      return undefined;
    }
  }

  /**
   * Bytes that the connection took, up to `count`; 0 where it takes none now, or sending failed: whoever then writes to
   * the socket, or reads the file, is told.
   */
  send(file: number, position: number, count: number): Promise<number> {
    const offset = Buffer.alloc(8);
    offset.writeBigInt64LE(BigInt(position));
    return new Promise((resolve) => {
      sendfile!.async(this.#fd, file, offset, count, (error, sent) => resolve(error ? 0 : Math.max(0, Number(sent))));
    });
  }

  [Symbol.dispose](): void {
    close(this.#fd, () => undefined);
  }
}
