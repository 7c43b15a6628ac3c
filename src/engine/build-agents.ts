import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { findProgram } from '../runtime/find-runtime.ts';
import type { Store } from '../store/store.ts';

/** The socket of an agent, or files of private keys; none: the caller's own agent. */
export type AgentSource = readonly string[];

/**
 * Holds the keys in an agent until the pipe on its input is closed, however the holder of its other end ends.
 * $1 directory of the socket, the rest keys. They come in on standard input: so their modes are nobody's business, as with
 * BuildKit, which reads them itself.
 */
const HOLD_KEYS = `
dir=$1
shift
bad= at=0
for key; do
  ssh-add -q - < "$key" 2>&1 || { bad=$at; break; }
  at=$((at + 1))
done
if [ -z "$bad" ]; then echo +ready; else echo; echo "+failed $bad"; fi
read -r _
kill "$SSH_AGENT_PID"
rm -rf -- "$dir"
`;

/** The SSH agents that a build's steps may speak to, each found or started when a step first asks for it. */
export class BuildAgents implements AsyncDisposable {
  readonly #store: Store;
  readonly #sources: ReadonlyMap<string, AgentSource>;
  readonly #sockets: Map<string, Promise<string>> = new Map();
  readonly #started: ChildProcess[] = [];

  /** Throws `BAD_SSH` for what is neither a socket nor files. */
  constructor(store: Store, sources: Readonly<Record<string, AgentSource>>) {
    this.#store = store;
    this.#sources = new Map(Object.entries(sources));
    for (const [id, paths] of this.#sources) checkPaths(id, paths);
  }

  /** Path of the agent's socket; undefined where there is none and none is needed. Throws `NO_SSH`, `BAD_SSH`. */
  socket(id: string, required: boolean): Promise<string> | undefined {
    const paths = this.#sources.get(id);
    if (paths === undefined) {
      if (!required) return undefined;
      throw new ImagoError('NO_SSH', `unset ssh forward key ${id}`, {
        remedy: `give it with --ssh ${id === 'default' ? id : `${id}=SOCKET`}`,
      });
    }
    let socket = this.#sockets.get(id);
    if (socket === undefined) {
      socket = this.#open(id, paths);
      this.#sockets.set(id, socket);
    }
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#started.map(async (child) => {
        const ended = new Promise((resolve) => child.once('close', resolve));
        child.stdin!.end();
        if (child.exitCode === null && child.signalCode === null) await ended;
      }),
    );
  }

  async #open(id: string, paths: AgentSource): Promise<string> {
    if (paths.length === 0) return ownAgent(id);
    if (isSocket(paths[0]!)) return paths[0]!;
    const agent = findProgram('ssh-agent');
    if (agent === undefined || findProgram('ssh-add') === undefined) {
      throw new ImagoError('BAD_SSH', `the keys of ${id} need ssh-agent and ssh-add, which are not installed`, {
        remedy: "'apt-get install openssh-client', or forward an agent: --ssh ID=SOCKET",
        exitCode: 125,
      });
    }
    return this.#startAgent(id, agent, paths);
  }

  async #startAgent(id: string, agent: string, keys: AgentSource): Promise<string> {
    const { spawn } = await import('node:child_process');
    mkdirSync(this.#store.run, { recursive: true, mode: 0o700 });
    const directory = mkdtempSync(join(this.#store.run, 'ssh-'));
    const socket = join(directory, 's');
    const env = { PATH: process.env.PATH, SSH_ASKPASS_REQUIRE: 'never' };
    const child = spawn(agent, ['-a', socket, '/bin/sh', '-c', HOLD_KEYS, 'sh', directory, ...keys], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env,
      // A Ctrl-C is for this process.
      detached: true,
    });
    this.#started.push(child);
    let said = '';
    const ready = await new Promise<boolean>((resolve) => {
      child.once('error', () => resolve(false));
      child.once('close', () => resolve(false));
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (/^\+(ready|failed \d+)$/m.test(said)) resolve(/^\+ready$/m.test(said));
      });
      setTimeout(() => resolve(false), 10_000).unref();
    });
    if (ready) return socket;
    child.stdin!.end();
    rmSync(directory, { recursive: true, force: true });
    const lines = said.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('+'));
    throw new ImagoError('BAD_SSH', `cannot load the keys of ${id}`, {
      path: keys[Number(/^\+failed (\d+)$/m.exec(said)?.[1] ?? 0)],
      got:
        lines
          .at(-1)
          ?.replace(/"?\(stdin\)"?:? ?/, '')
          .trim() ?? 'no word of ssh-add',
      remedy: 'keys with a passphrase belong into an agent: --ssh default forwards yours',
    });
  }
}

function ownAgent(id: string): string {
  const path = process.env.SSH_AUTH_SOCK;
  if (path !== undefined && path !== '' && isSocket(path)) return path;
  throw new ImagoError('NO_SSH', `there is no SSH agent to forward as ${id}`, {
    want: 'a socket in SSH_AUTH_SOCK',
    got: path || 'nothing',
    remedy: 'start one with ssh-agent, or name a socket or a key: --ssh ID=PATH',
  });
}

function checkPaths(id: string, paths: AgentSource): void {
  for (const path of paths) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined || stat.isDirectory()) {
      throw new ImagoError('BAD_SSH', `--ssh ${id}: no such socket or key`, { path, exitCode: 125 });
    }
    if (stat.isSocket() && paths.length > 1) {
      throw new ImagoError('BAD_SSH', `--ssh ${id}: only a single socket is allowed, and no keys beside it`, {
        path,
        exitCode: 125,
      });
    }
  }
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
