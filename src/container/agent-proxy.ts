import { chmodSync, chownSync } from 'node:fs';

/** Connections at one time: an agent serves each with a thread or a process of its own. */
const MOST = 64;

export interface AgentProxy {
  close(): void;
}

/**
 * Listens at `path` and passes each connection on to the socket of an SSH agent, so that the container's user may
 * speak to it, whoever owns it on the host.
 */
export async function startAgentProxy(
  path: string,
  agent: string,
  owner: { uid: number; gid: number; mode: number },
): Promise<AgentProxy> {
  const { connect, createServer } = await import('node:net');
  const open = new Set<{ destroy(): void }>();
  const server = createServer((client) => {
    const upstream = connect(agent);
    const both = [client, upstream];
    for (const socket of both) {
      open.add(socket);
      socket.on('close', () => open.delete(socket));
      // One that breaks takes the other with it.
      socket.on('error', () => {
        for (const other of both) other.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  });
  server.maxConnections = MOST;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chownSync(path, owner.uid, owner.gid);
  chmodSync(path, owner.mode);
  return {
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
