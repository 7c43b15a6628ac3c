import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { basename } from 'node:path';
import type { Patience } from './config.ts';
import { answerOnSocket } from './socket-answer.ts';

/** A request that is being answered, and how fast its body comes. */
interface Exchange {
  req: IncomingMessage;
  res: ServerResponse;
  /** The beginning of the stretch that is measured, and what had come in by then. */
  since: number;
  bytesRead: number;
}

interface Connection {
  exchanges: Set<Exchange>;
  /** Uploads that were opened or fed by it; those of them count that are open still. */
  uploads: Set<string>;
}

const MAX_UPLOADS_OF_CONNECTION = 100;

/**
 * The server's connections: who is too slow, and who must be waited for when the server stops. Bodies have to come at
 * a least rate, unless it is this side that does not read.
 */
export class Connections {
  readonly #patience: Patience;
  readonly #onSlow: (reason: 'slow' | 'idle') => void;
  readonly #known = new Map<Socket, Connection>();
  /** Clients may end an upload on another connection than the one that they began it on. */
  readonly #openUploads = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #inFlight = 0;
  #draining = false;
  #whenEmpty: (() => void) | undefined;

  constructor(patience: Patience, onSlow: (reason: 'slow' | 'idle') => void) {
    this.#patience = patience;
    this.#onSlow = onSlow;
    this.#timer = setInterval(() => this.#lookAtBodies(), Math.max(50, Math.min(5000, patience.bodyGrace / 4)));
    this.#timer.unref();
  }

  get open(): number {
    return this.#known.size;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  add(socket: Socket): void {
    const uploads = new Set<string>();
    this.#known.set(socket, { exchanges: new Set(), uploads });
    socket.on('close', () => {
      this.#known.delete(socket);
      for (const id of uploads) this.#openUploads.delete(id);
      if (this.#known.size === 0) this.#whenEmpty?.();
    });
    if (this.#draining) socket.destroy();
  }

  /** Whether an answer has begun on it that words of another kind would spoil. */
  isAnswering(socket: Socket): boolean {
    return [...(this.#known.get(socket)?.exchanges ?? [])].some(({ res }) => res.headersSent);
  }

  /** Once for each request. */
  begin(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req;
    const connection = this.#known.get(socket);
    if (connection === undefined) return;
    const exchange: Exchange = { req, res, since: performance.now(), bytesRead: socket.bytesRead };
    connection.exchanges.add(exchange);
    this.#inFlight++;
    if (this.#draining && !this.#hasUpload(connection)) res.shouldKeepAlive = false;
    res.on('finish', () => this.#followUpload(connection, req, res));
    res.on('close', () => {
      connection.exchanges.delete(exchange);
      this.#inFlight--;
      if (this.#draining) this.#endIfIdle(socket, connection);
    });
  }

  /** For the server's `timeout` event: nothing moved for a while. */
  onIdle(socket: Socket): void {
    const exchanges = [...(this.#known.get(socket)?.exchanges ?? [])];
    // What waits for this side (a storage that takes its time) is left alone.
    const ours = exchanges.some(({ req }) => req.complete || req.readableLength > 0);
    if (ours && socket.writableLength === 0) socket.setTimeout(this.#patience.idle);
    else this.#giveUp(socket, exchanges, 'idle', `nothing came for ${this.#patience.idle / 1000} s`);
  }

  /**
   * Ends connections as they become idle; those with an upload that is not finished may go on with it. Resolves when
   * there are none left, at the latest after `timeout` milliseconds, when the rest is cut off.
   */
  async drain(timeout: number): Promise<{ cutOff: number }> {
    this.#draining = true;
    for (const [socket, connection] of this.#known) {
      for (const { res } of connection.exchanges) {
        if (!res.headersSent && !this.#hasUpload(connection)) res.shouldKeepAlive = false;
      }
      this.#endIfIdle(socket, connection);
    }
    if (this.#known.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#whenEmpty = resolve;
        }),
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, timeout);
        }),
      ]);
      clearTimeout(timer);
    }
    const cutOff = this.#known.size;
    for (const socket of this.#known.keys()) socket.destroy();
    clearInterval(this.#timer);
    return { cutOff };
  }

  #endIfIdle(socket: Socket, connection: Connection): void {
    if (connection.exchanges.size === 0 && !this.#hasUpload(connection)) socket.end(() => socket.destroy());
  }

  #hasUpload({ uploads }: Connection): boolean {
    return [...uploads].some((id) => this.#openUploads.has(id));
  }

  /** OCI distribution-spec v1.1.1 §Pushing a blob in chunks: POST opens, PATCH goes on, PUT and DELETE end. */
  #followUpload({ uploads }: Connection, req: IncomingMessage, res: ServerResponse): void {
    const path = req.url?.split('?')[0] ?? '';
    if (!path.includes('/blobs/uploads/')) return;
    const { method } = req;
    if (method === 'POST' || method === 'PATCH') {
      const location = res.getHeader('location');
      if (res.statusCode !== 202 || typeof location !== 'string') return;
      for (const id of uploads) if (!this.#openUploads.has(id)) uploads.delete(id);
      if (uploads.size >= MAX_UPLOADS_OF_CONNECTION) return;
      const id = basename(location.split('?')[0]!);
      uploads.add(id);
      this.#openUploads.add(id);
    } else if (method === 'DELETE' || (method === 'PUT' && res.statusCode < 500)) {
      this.#openUploads.delete(basename(path));
      if (this.#draining) for (const [socket, connection] of this.#known) this.#endIfIdle(socket, connection);
    }
  }

  #lookAtBodies(): void {
    const { bodyRate, bodyGrace } = this.#patience;
    if (bodyRate === 0) return;
    const now = performance.now();
    for (const [socket, { exchanges }] of this.#known) {
      for (const exchange of exchanges) {
        const { req } = exchange;
        if (req.complete || req.readableLength > 0) {
          exchange.since = now;
          exchange.bytesRead = socket.bytesRead;
          continue;
        }
        const elapsed = now - exchange.since;
        if (elapsed < bodyGrace) continue;
        if (socket.bytesRead - exchange.bytesRead < (bodyRate * elapsed) / 1000) {
          this.#giveUp(socket, [exchange], 'slow', `the body came slower than ${bodyRate} bytes a second`);
          break;
        }
        exchange.since = now;
        exchange.bytesRead = socket.bytesRead;
      }
    }
  }

  #giveUp(socket: Socket, exchanges: readonly Exchange[], reason: 'slow' | 'idle', message: string): void {
    this.#onSlow(reason);
    const [exchange] = exchanges;
    if (exchange !== undefined && !exchange.res.headersSent && !exchange.req.complete) {
      answerOnSocket(socket, 408, 'REQUEST_TIMEOUT', message);
    } else socket.destroy();
  }
}
