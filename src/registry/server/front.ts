import type { RequestListener, ServerResponse } from 'node:http';
import { TOKEN_PATH } from './door.ts';
import type { Readiness } from './health.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import { answerTokenRequest, type TokenEndpoint } from './token-endpoint.ts';

export interface Front {
  /** Answers everything that is not below. */
  registry: RequestListener;
  readiness: Readiness;
  /** Undefined: `/metrics` is not answered here. */
  metrics: Metrics | undefined;
  tokens: TokenEndpoint | undefined;
  log: Log;
}

/** `/healthz`, `/readyz`, `/metrics` and the token end point; the rest is the registry's. */
export function createFront({ registry, readiness, metrics, tokens, log }: Front): RequestListener {
  const pages: Record<string, (res: ServerResponse) => Promise<void>> = {
    '/healthz': async (res) => sendText(res, 200, 'ok\n'),
    '/readyz': async (res) => {
      const { status, text } = await readiness.read();
      sendText(res, status, text);
    },
  };
  if (metrics !== undefined) {
    pages['/metrics'] = async (res) => {
      const { contentType, text } = await metrics.format();
      sendText(res, 200, text, contentType);
    };
  }
  return (req, res) => {
    const path = req.url?.split('?')[0] ?? '';
    const failed = (error: unknown): void => {
      if (!req.destroyed || req.complete) log.error('an answer failed', error, { path });
      if (res.headersSent) res.destroy();
      else sendText(res, 500, 'internal error\n');
    };
    if (path.startsWith('/v2/')) registry(req, res);
    else if (Object.hasOwn(pages, path)) {
      if (req.method === 'GET' || req.method === 'HEAD') pages[path]!(res).catch(failed);
      else sendText(res, 405, 'GET only\n');
    } else if (path === TOKEN_PATH && tokens !== undefined) {
      if (req.method !== 'GET' && req.method !== 'POST') return sendText(res, 405, 'GET or POST only\n');
      const started = performance.now();
      const remote = req.socket.remoteAddress;
      const answered = (user: string | undefined): void => {
        const ms = Math.round(performance.now() - started);
        log.info('token request', { remote, user, method: req.method, status: res.statusCode, ms });
      };
      answerTokenRequest(tokens, req, res).then(answered).catch(failed);
    } else registry(req, res);
  };
}

function sendText(res: ServerResponse, status: number, text: string, contentType = 'text/plain; charset=utf-8'): void {
  const body = Buffer.from(text);
  res.writeHead(status, { 'Content-Type': contentType, 'Content-Length': body.length, 'Cache-Control': 'no-store' });
  res.end(body);
}
