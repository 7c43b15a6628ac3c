import type { IncomingMessage, ServerResponse } from 'node:http';

/** What a fake registry does wrong with one request. Members combine where that makes sense. */
export interface Fault {
  /** Waits before anything else. */
  delayMs?: number;
  /** What happens at the registry before the request is looked at. */
  meanwhile?: () => void;
  /** Closes the connection without an answer. */
  drop?: boolean;
  /** Does what was asked for, then closes the connection without an answer. */
  loseAnswer?: boolean;
  /** Answers with this status, `headers` and `body` instead of what it should: 404, 429, 503, a redirect, HTML. */
  status?: number;
  body?: string;
  /** Headers in place of the right ones: `{ 'content-range': 'bytes 5-9/10' }`, `{ 'content-length': '7' }`. */
  headers?: Record<string, string>;
  /** Headers left out. */
  without?: readonly string[];
  /** Closes the connection after that many bytes of the answer's body. */
  cutAfter?: number;
  /** Sends that many bytes of the answer's body, then nothing, with the connection open. */
  stallAfter?: number;
  /** Closes the connection after that many bytes of the request's body (uploads keep them). */
  cutRequestAfter?: number;
  /** A body that is that long and says so, as if it were whole. */
  short?: number;
  /** A body that never ends, without a Content-Length. */
  endless?: boolean;
  /** A body of that many zeros, with their right Content-Length. */
  huge?: number;
  /** The body's first byte is another. */
  corrupt?: boolean;
  /** Answers a Range request with 200 and everything. */
  ignoreRange?: boolean;
}

export interface Match {
  method?: string;
  /** Of the path with its query. */
  path?: RegExp;
}

export class Troubles {
  readonly #list: { match: Match; fault: Fault; left: number }[] = [];

  add(match: Match, fault: Fault, times: number): void {
    this.#list.push({ match, fault, left: times });
  }

  clear(): void {
    this.#list.length = 0;
  }

  take(method: string, path: string): Fault | undefined {
    const found = this.#list.find(
      ({ match, left }) =>
        left > 0 && (match.method ?? method) === method && (match.path === undefined || match.path.test(path)),
    );
    if (found === undefined) return undefined;
    found.left--;
    return found.fault;
  }
}

const ZEROS: Buffer = Buffer.alloc(64 * 1024);

/** Sends an answer with what the fault makes of it. Resolves when all is handed over, or the connection is gone. */
export async function sendBody(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  headers: Record<string, string>,
  right: Buffer,
  fault: Fault | undefined,
  count: (bytes: number) => void,
): Promise<void> {
  if (fault?.loseAnswer === true) {
    req.socket.destroy();
    return;
  }
  let body = fault?.short === undefined ? right : right.subarray(0, fault.short);
  if (fault?.corrupt === true && body.length > 0) {
    body = Buffer.from(body);
    body[0] = body[0]! ^ 0xff;
  }
  const all: Record<string, string> = { ...headers };
  if (fault?.endless !== true && status !== 204) all['content-length'] = String(fault?.huge ?? body.length);
  Object.assign(all, fault?.headers);
  for (const name of fault?.without ?? []) delete all[name];
  // Sizes that do not fit are meant here.
  res.strictContentLength = false;
  res.sendDate = false;
  res.writeHead(status, all);
  if (req.method === 'HEAD' || status === 204) {
    res.end();
    return;
  }
  if (fault?.endless === true) return zeros(res, Infinity, count);
  if (fault?.huge !== undefined) return zeros(res, fault.huge, count);
  const stop = fault?.cutAfter ?? fault?.stallAfter;
  if (stop === undefined) {
    count(body.length);
    res.end(body);
    return;
  }
  count(Math.min(stop, body.length));
  res.flushHeaders();
  await new Promise<void>((done) => {
    if (stop === 0) done();
    else res.write(body.subarray(0, stop), () => done());
  });
  // What was written must have left before the connection ends.
  if (fault?.cutAfter !== undefined) req.socket.destroySoon();
}

async function zeros(res: ServerResponse, total: number, count: (bytes: number) => void): Promise<void> {
  let left = total;
  while (left > 0 && !res.destroyed && !(res.socket?.destroyed ?? true)) {
    const chunk = left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS;
    left -= chunk.length;
    count(chunk.length);
    if (res.write(chunk)) {
      await new Promise((done) => setImmediate(done));
      continue;
    }
    await new Promise<void>((done) => {
      const go = (): void => {
        res.off('drain', go).off('close', go);
        done();
      };
      res.once('drain', go).once('close', go);
    });
  }
  if (!res.destroyed) res.end();
}
