import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientOptions } from '../../../src/registry/client/types.ts';

/** A server on loopback that says what a test wants, and remembers what it was asked. */
export interface FakeRegistry extends AsyncDisposable {
  port: number;
  /** localhost:PORT */
  name: string;
  requests: { method: string; url: string; authorization: string | undefined; body: string }[];
}

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => unknown;

export async function startRegistry(answer: Answer, tls?: ServerOptions): Promise<FakeRegistry> {
  const requests: FakeRegistry['requests'] = [];
  const listener: RequestListener = async (request, response) => {
    const { method, url, headers } = request;
    const entry = { method: method!, url: url!, authorization: headers.authorization, body: '' };
    requests.push(entry);
    try {
      for await (const chunk of request) entry.body += chunk;
      await answer(request, response, entry.body);
    } catch {
      response.destroy();
    }
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  const port = await listen(server);
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  return { port, name: `localhost:${port}`, requests, [Symbol.asyncDispose]: stop };
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

/** Neither this machine's settings nor its patience. */
export function quickOptions(options: ClientOptions = {}): ClientOptions {
  return {
    environment: { HOME: '/nonexistent', PATH: process.env.PATH },
    certificates: [],
    registries: '/nonexistent/registries.json',
    ...options,
    timing: { retryMs: 5, stallMs: 5000, connectMs: 5000, ...options.timing },
  };
}

export function makeTemporaryDirectory(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'imago-client-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** An authority, and what it signs: `name.crt` and `name.key` in the directory. */
export class Authority {
  readonly directory: string;
  readonly certificate: string;

  constructor(directory: string) {
    this.directory = directory;
    this.certificate = join(directory, 'ca.pem');
    const subject = ['-subj', '/CN=Test CA', '-days', '30'];
    writeFileSync(join(directory, 'ca.cnf'), SETTINGS);
    writeFileSync(join(directory, 'index.txt'), '');
    const extension = ['-addext', 'basicConstraints=critical,CA:TRUE'];
    this.#openssl('req', '-x509', '-keyout', 'ca-key.pem', '-out', 'ca.pem', ...NEW_KEY, ...subject, ...extension);
  }

  /** Paths of a certificate and its key; from and to as YYYYMMDDHHMMSSZ. */
  issue(name: string, hosts: string, from: string = NOW, to: string = FAR): { cert: string; key: string } {
    const request = ['-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`];
    this.#openssl('req', ...request, ...NEW_KEY);
    writeFileSync(join(this.directory, `${name}.ext`), `subjectAltName=${hosts}\n`);
    const signing = ['-config', 'ca.cnf', '-extfile', `${name}.ext`, '-startdate', from, '-enddate', to];
    this.#openssl('ca', '-batch', '-notext', '-in', `${name}.csr`, '-out', `${name}.crt`, ...signing);
    return { cert: join(this.directory, `${name}.crt`), key: join(this.directory, `${name}.key`) };
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.directory, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

const NOW = '20240101000000Z';
const FAR = '20800101000000Z';
/** `openssl ca` is the one command that makes certificates of any time. */
const SETTINGS = `[ca]
default_ca = test
[test]
database = index.txt
new_certs_dir = .
rand_serial = yes
certificate = ca.pem
private_key = ca-key.pem
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
`;
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
