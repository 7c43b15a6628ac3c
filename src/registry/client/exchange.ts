import { type Agent, type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import type { RegistryRequest, Timing } from './types.ts';
import { Watchdog } from './watchdog.ts';

/** One request on the wire: no retries, no redirects, no credentials of its own. */
export interface Exchange {
  method: string;
  url: URL;
  headers: Readonly<Record<string, string>>;
  body?: RegistryRequest['body'];
  agent: Agent;
  timing: Timing;
  signal?: AbortSignal;
  /** Told once, before the first byte of a streamed body goes out. */
  onBody?: () => void;
}

/** Larger pieces are cut, so that a slow network is not taken for a stalled one. */
const PIECE = 256 * 1024;
/** Answers of 100 to 199 before the one that counts. */
const MAX_INTERIM = 32;
/** A kept connection may have been closed by the other end just now; that is no failure of the host. */
const MAX_STALE = 20;

/**
 * Sends a request and resolves with the head of the answer; an answer that comes before the whole body was sent ends
 * the sending. Rejects with the error of Node, `STALLED`, or the signal's reason. The caller consumes or destroys the
 * answer.
 */
export async function exchange(call: Exchange): Promise<IncomingMessage> {
  for (let stale = 0; ; stale++) {
    call.signal?.throwIfAborted();
    const attempt = new Attempt(call);
    try {
      return await attempt.run();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const broken = code === 'ECONNRESET' || code === 'EPIPE';
      if (!broken || !attempt.request.reusedSocket || typeof call.body === 'function' || stale >= MAX_STALE)
        throw error;
    }
  }
}

function noAnswer(): Error {
  return Object.assign(new Error('the request ended without an answer'), { code: 'ECONNRESET' });
}

class Attempt {
  readonly request: ClientRequest;
  readonly #call: Exchange;
  readonly #watchdog: Watchdog;
  #response: IncomingMessage | undefined;
  #failure: Error | undefined;

  constructor(call: Exchange) {
    this.#call = call;
    const open = call.url.protocol === 'https:' ? requestTls : requestPlain;
    const { method, agent, headers } = call;
    this.request = open(call.url, { method, agent, headers: { ...headers, ...lengthOf(call) } });
    this.#watchdog = new Watchdog(this.request, call.timing, method === 'GET' || method === 'HEAD');
  }

  async run(): Promise<IncomingMessage> {
    const { request } = this;
    const { signal } = this.#call;
    const abort = (): void => this.#fail(signal!.reason);
    const release = (): void => {
      signal?.removeEventListener('abort', abort);
      this.#watchdog.stop();
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const answer = new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve);
        request.on('error', (error) => reject(this.#failure ?? error));
        request.once('close', () => reject(this.#failure ?? noAnswer()));
        let interim = 0;
        request.on('information', () => {
          if (++interim > MAX_INTERIM) this.#fail(noAnswer());
        });
      });
      this.#send().catch((error: Error) => this.#fail(error));
      const response = await answer;
      this.#response = response;
      this.#watchdog.receive(response);
      response.once('close', release);
      // What is left of the body is not wanted: the connection cannot be used again.
      if (!request.writableEnded) response.once('end', () => request.destroy());
      return response;
    } catch (error) {
      release();
      throw error;
    }
  }

  #fail(reason: Error): void {
    this.#failure = reason;
    (this.#response ?? this.request).destroy(reason);
  }

  async #send(): Promise<void> {
    const { body, onBody } = this.#call;
    const { request } = this;
    if (typeof body !== 'function') {
      request.end(body);
      return;
    }
    onBody?.();
    for await (const chunk of body()) {
      for (let at = 0; at < chunk.length; at += PIECE) {
        if (this.#response !== undefined || request.destroyed) return;
        this.#watchdog.sending = true;
        if (!request.write(chunk.subarray(at, at + PIECE))) await this.#drained();
        this.#watchdog.sending = false;
      }
    }
    if (this.#response !== undefined || request.destroyed) return;
    this.#watchdog.sending = true;
    request.end();
  }

  /** Until more may be written, or writing has no point any more. */
  async #drained(): Promise<void> {
    const { request } = this;
    await new Promise<void>((done) => {
      const finish = (): void => {
        for (const event of ['drain', 'close', 'response']) request.off(event, finish);
        done();
      };
      for (const event of ['drain', 'close', 'response']) request.on(event, finish);
    });
  }
}

function lengthOf({ body, method }: Exchange): Record<string, string> {
  if (typeof body === 'function') return {};
  if (body !== undefined) return { 'Content-Length': String(body.length) };
  return method === 'GET' || method === 'HEAD' ? {} : { 'Content-Length': '0' };
}
