import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { ImagoError } from '../../core/errors.ts';
import { showUrl } from './shown-url.ts';
import type { Timing } from './types.ts';

/** Registries hash and move what was uploaded before they answer. */
const WRITE_FACTOR = 5;
/** In a window of so many stall times at least so many bytes: a trickle may not go on for days. */
const WINDOW_FACTOR = 5;
const MIN_BYTES = 1024;

/**
 * Ends a request on which nothing happens: until the connection stands, while bytes are waited for, and while bytes are
 * not taken. Time that our own reader or source takes does not count.
 */
export class Watchdog {
  /** Bytes, or the end of the body, are with the socket; otherwise the source of the body is waited for. */
  sending = false;
  readonly #request: ClientRequest;
  readonly #timing: Timing;
  readonly #reads: boolean;
  readonly #timer: NodeJS.Timeout;
  #response: IncomingMessage | undefined;
  #socket: Socket | undefined;
  #connected = false;
  #progress = -1;
  #since = performance.now();
  /** When the present window began, and the progress then. */
  #window = { since: performance.now(), progress: 0 };

  constructor(request: ClientRequest, timing: Timing, reads: boolean) {
    this.#request = request;
    this.#timing = timing;
    this.#reads = reads;
    this.sending = reads;
    const interval = Math.max(5, Math.min(timing.stallMs, timing.connectMs, 8000) / 8);
    this.#timer = setInterval(() => this.#look(), interval).unref();
    request.once('socket', (socket) => this.#watch(socket));
    request.on('drain', () => this.#restart());
  }

  receive(response: IncomingMessage): void {
    this.#response = response;
    this.#restart();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #watch(socket: Socket): void {
    this.#socket = socket;
    const connected = (): void => {
      this.#connected = true;
      this.#window = { since: performance.now(), progress: socket.bytesRead + socket.bytesWritten };
      this.#restart();
    };
    // Through a proxy the socket may come when its handshake is over.
    const { secureConnecting } = socket as Socket & { secureConnecting?: boolean };
    if (socket.connecting || secureConnecting === true) {
      socket.once(secureConnecting === undefined ? 'connect' : 'secureConnect', connected);
    } else connected();
  }

  #restart(): void {
    this.#since = performance.now();
  }

  #look(): void {
    const passed = performance.now() - this.#since;
    if (!this.#connected) {
      if (passed > this.#timing.connectMs) this.#end('ETIMEDOUT', 'no connection');
      return;
    }
    const progress = this.#socket!.bytesRead + this.#socket!.bytesWritten;
    const { stallMs } = this.#timing;
    const idle = this.#idle();
    const now = performance.now();
    if (idle || progress - this.#window.progress >= MIN_BYTES) this.#window = { since: now, progress };
    if (progress !== this.#progress || idle) {
      this.#progress = progress;
      this.#restart();
      if (now - this.#window.since > stallMs * WINDOW_FACTOR)
        this.#end('STALLED', 'next to nothing came', this.#window.since);
      return;
    }
    if (passed > (this.#reads || this.#response !== undefined ? stallMs : stallMs * WRITE_FACTOR)) {
      this.#end('STALLED', 'no byte came or went');
    }
  }

  /** Not the other end is waited for, but our own. */
  #idle(): boolean {
    const response = this.#response;
    if (response === undefined) return !this.sending;
    return response.complete || response.readableLength >= response.readableHighWaterMark;
  }

  #end(code: 'STALLED' | 'ETIMEDOUT', what: string, since = this.#since): void {
    this.stop();
    const seconds = Math.round((performance.now() - since) / 100) / 10;
    const { protocol, host, path } = this.#request;
    const url = URL.parse(`${protocol}//${host}${path}`);
    const summary = `${what} for ${seconds} s${url === null ? '' : ` from ${showUrl(url)}`}`;
    const error =
      code === 'STALLED'
        ? new ImagoError('STALLED', summary, { remedy: 'check the network and try again' })
        : Object.assign(new Error(summary), { code });
    (this.#response ?? this.#request).destroy(error);
  }
}
