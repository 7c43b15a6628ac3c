import { createHmac, randomBytes } from 'node:crypto';
import { ImagoError } from '../../core/errors.ts';
import { WorkerPool } from '../../system/worker-pool.ts';
import { workerUrl } from '../../system/worker-url.ts';
import { WatchedFile } from './watched-file.ts';

const BCRYPT = /^\$2[aby]\$(?:0[4-9]|1\d)\$[./A-Za-z0-9]{53}$/;
const OTHERS: readonly [RegExp, string][] = [
  [/^\$2[aby]\$/, 'a bcrypt hash that is cut short, or costs more than 2^19 rounds'],
  [/^\$apr1\$/, "Apache's MD5 hash"],
  [/^\{SHA\}/, 'an unsalted SHA-1 hash'],
  [/^\$[156]\$/, 'a crypt(3) hash'],
];
/** Checks that run or wait, in all and for one user name; what comes beyond is told to come again. */
const MAX_CHECKS = 32;
const MAX_CHECKS_OF_USER = 4;
/** How long a password that was right is taken without computing again. */
const REMEMBER_MS = 60_000;
const MAX_REMEMBERED = 1000;
/** bcrypt looks at no more than 72 bytes: a longer password would be right with any ending. */
const MAX_PASSWORD = 72;

export type PasswordCheck = 'right' | 'wrong' | 'busy';

/** User → bcrypt hash. Throws `BAD_HTPASSWD` with the line, and never with its contents. */
export function parseHtpasswd(text: string, path: string): Map<string, string> {
  const users = new Map<string, string>();
  text.split('\n').forEach((raw, i) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const colon = line.indexOf(':');
    const user = line.slice(0, Math.max(colon, 0));
    const hash = line.slice(colon + 1);
    if (user === '') {
      throw new ImagoError('BAD_HTPASSWD', `${path}, line ${i + 1} is not USER:HASH`, {
        remedy: "write it with 'htpasswd -B'",
      });
    }
    if (!BCRYPT.test(hash)) {
      const kind = OTHERS.find(([pattern]) => pattern.test(hash))?.[1] ?? 'a hash of another kind, or none';
      throw new ImagoError('BAD_HTPASSWD', `${path}, line ${i + 1}: the password of '${user}' is ${kind}`, {
        want: 'bcrypt',
        remedy: "set it anew with 'htpasswd -B'",
      });
    }
    users.set(user, hash);
  });
  return users;
}

/**
 * The users of an htpasswd file. Hashes are computed in threads, a bounded number at once; right passwords are
 * remembered for a minute under a key of this process.
 */
export class PasswordFile {
  readonly #file: WatchedFile<Map<string, string>>;
  readonly #pool: WorkerPool = new WorkerPool(workerUrl('registry/server/bcrypt-worker'));
  readonly #key: Buffer = randomBytes(32);
  readonly #remembered = new Map<string, { hash: string; until: number }>();
  readonly #running = new Map<string, Promise<boolean>>();
  readonly #ofUser = new Map<string, number>();

  constructor(path: string, onProblem?: (error: Error) => void) {
    this.#file = new WatchedFile(path, (text) => parseHtpasswd(text, path), onProblem ? { onProblem } : {});
  }

  has(user: string): boolean {
    return this.#file.read().has(user);
  }

  async check(user: string, password: string): Promise<PasswordCheck> {
    const users = this.#file.read();
    // An unknown user costs what a known one does.
    const hash = users.get(user) ?? decoy(users);
    const id = createHmac('sha256', this.#key).update(`${hash}\0${user}\0${password}`).digest('base64');
    const known = this.#remembered.get(id);
    if (known !== undefined && known.until > Date.now()) return 'right';
    let running = this.#running.get(id);
    if (running === undefined) {
      const ofUser = this.#ofUser.get(user) ?? 0;
      if (this.#running.size >= MAX_CHECKS || ofUser >= MAX_CHECKS_OF_USER) return 'busy';
      this.#ofUser.set(user, ofUser + 1);
      running = this.#compute(password, hash).finally(() => {
        this.#running.delete(id);
        const left = this.#ofUser.get(user)! - 1;
        if (left > 0) this.#ofUser.set(user, left);
        else this.#ofUser.delete(user);
      });
      this.#running.set(id, running);
    }
    if (!(await running) || !users.has(user)) return 'wrong';
    this.#remember(id, hash);
    return 'right';
  }

  async #compute(password: string, hash: string): Promise<boolean> {
    const tooLong = Buffer.byteLength(password) > MAX_PASSWORD;
    const right = await this.#pool.run<boolean>({ password: tooLong ? '' : password, hash });
    return right && !tooLong;
  }

  #remember(id: string, hash: string): void {
    this.#remembered.delete(id);
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value!);
    this.#remembered.set(id, { hash, until: Date.now() + REMEMBER_MS });
  }
}

/** A hash that no password fits, at the cost that the file's own have. */
function decoy(users: ReadonlyMap<string, string>): string {
  const sample = users.values().next().value ?? '$2y$10$';
  return `${sample.slice(0, 7)}${'.'.repeat(53)}`;
}
