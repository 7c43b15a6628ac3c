import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy on loopback that can cut connections in the middle of what they carry, and counts the bytes. */
export class CuttingProxy implements AsyncDisposable {
  /** From the server, and to it. */
  down = 0;
  up = 0;
  cuts = 0;
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  #plan: { direction: 'down' | 'up'; after: number; times: number } | undefined;

  private constructor(target: string) {
    const [host, port] = target.split(':');
    this.#server = createServer((client) => this.#join(client, connect(Number(port), host)));
  }

  /** Passes on to `HOST:PORT`. */
  static async start(target: string): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target);
    await new Promise<void>((done) => proxy.#server.listen(0, '127.0.0.1', done));
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next connections, `times` of them, break once they have carried that many bytes. */
  cut(direction: 'down' | 'up', after: number, times: number): void {
    this.#plan = { direction, after, times };
  }

  #join(client: Socket, server: Socket): void {
    const carried = { down: 0, up: 0 };
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    const pass = (direction: 'down' | 'up', from: Socket, to: Socket): void => {
      this.#sockets.add(from);
      from.on('close', () => {
        this.#sockets.delete(from);
        end();
      });
      from.on('error', end);
      from.on('data', (chunk: Buffer) => {
        this[direction] += chunk.length;
        carried[direction] += chunk.length;
        const plan = this.#plan;
        if (plan !== undefined && plan.times > 0 && plan.direction === direction && carried[direction] > plan.after) {
          plan.times--;
          this.cuts++;
          end();
        } else if (!to.write(chunk)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      });
    };
    pass('up', client, server);
    pass('down', server, client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
