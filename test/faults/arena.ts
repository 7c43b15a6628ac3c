import assert from 'node:assert/strict';
import { type SpawnSyncOptions, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mountsBelow, namesIn, processesNaming, readState, type StoreState } from './observe.ts';
import { type Outcome, Running, statusOf } from './running.ts';

export const PROGRAM: string = join(import.meta.dirname, '../../bin/imago');

export interface CallOptions {
  env?: NodeJS.ProcessEnv;
  input?: string | Uint8Array;
  cwd?: string;
  stdio?: SpawnSyncOptions['stdio'];
  /** Another program that is given the words, `imago` among them. */
  through?: readonly string[];
}

export interface Refusal extends CallOptions {
  /** Default 1. */
  status?: number;
  /** Must be found on stderr. */
  says: RegExp;
}

/** A store of its own, the program as a user has it, and checks that a command that failed left nothing behind. */
export class Arena implements Disposable {
  readonly directory: string;
  readonly root: string;
  readonly run: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #ownMounts: Set<string> = new Set();

  constructor(place: { root?: string; run?: string } = {}) {
    this.directory = mkdtempSync(join(tmpdir(), 'imago-faults-'));
    this.root = join(this.directory, place.root ?? 'root');
    this.run = join(this.directory, place.run ?? 'run');
    const { IMAGO_DEBUG: _debug, IMAGO_BACKEND: _backend, IMAGO_RUNTIME: _runtime, ...env } = process.env;
    this.env = { ...env, IMAGO_ROOT: this.root, IMAGO_RUN: this.run };
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** Writes a file below the arena; its directories are made. */
  write(name: string, content: string | Uint8Array): string {
    const path = this.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  imago(words: readonly string[], options: CallOptions = {}): Outcome {
    const [program, ...args] = [...(options.through ?? []), PROGRAM, ...words] as [string, ...string[]];
    const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
      encoding: 'utf8',
      timeout: 60_000,
      maxBuffer: 64 * 2 ** 20,
      env: { ...this.env, ...options.env },
      cwd: options.cwd ?? this.directory,
      input: options.input,
      stdio: options.stdio,
    });
    // EPIPE: it did not want all of its input.
    if (error !== undefined && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    return { status: statusOf(status, signal), stdout: stdout ?? '', stderr: stderr ?? '' };
  }

  /** The command must succeed; returns what it printed. */
  ok(words: readonly string[], options: CallOptions = {}): string {
    const { status, stdout, stderr } = this.imago(words, options);
    assert.equal(status, 0, `imago ${words.join(' ')}\n${stderr}`);
    return stdout;
  }

  /** Starts a command as the leader of a process group, as a shell does. Its input stays open. */
  start(words: readonly string[], options: Pick<CallOptions, 'env' | 'through'> = {}): Running {
    const [program, ...args] = [...(options.through ?? []), PROGRAM, ...words] as [string, ...string[]];
    const child = spawn(program, args, {
      env: { ...this.env, ...options.env },
      cwd: this.directory,
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    return new Running(child, words);
  }

  /** The command must fail, in words, and leave everything as it was. */
  refuses(words: readonly string[], refusal: Refusal): void {
    const before = this.state();
    this.fails(words, refusal);
    this.assertUntouched(before);
  }

  /** The command must fail, in words. */
  fails(words: readonly string[], refusal: Refusal): Outcome {
    const outcome = this.imago(words, refusal);
    assertRefusal(outcome, refusal, words);
    return outcome;
  }

  state(): StoreState {
    return readState(this.root);
  }

  /** The references are what they were, nothing is being written, and what a prune leaves is what was there. */
  assertUntouched(before: StoreState): void {
    const after = this.state();
    assert.deepEqual(after.references, before.references, 'references changed');
    assert.deepEqual(after.unfinished, [], 'something half-written is left');
    this.#assertKept(before);
  }

  /** As after a kill: the references are what they were, and a prune collects the rest. */
  async assertCollected(before: StoreState): Promise<void> {
    assert.deepEqual(this.state().references, before.references, 'references changed');
    await this.assertQuiet();
    this.ok(['prune', '-f']);
    assert.deepEqual(this.state().unfinished, [], 'a prune left something half-written');
    this.#assertKept(before);
  }

  #assertKept(before: StoreState): void {
    const kept = (): string => this.state().kept.join('\n');
    if (kept() === before.kept.join('\n')) return;
    this.ok(['prune', '-f']);
    assert.equal(kept(), before.kept.join('\n'), 'something was lost, or is left after a prune');
  }

  /** Nothing of this store runs, and nothing is mounted but the pin. */
  async assertQuiet(): Promise<void> {
    // What cleans up after a container takes a moment.
    for (let tries = 0; processesNaming(this.directory).length > 0 && tries < 200; tries++) await sleep(15);
    assert.deepEqual(processesNaming(this.directory), [], 'processes are left running');
    const own = new Set([...this.#ownMounts, join(this.run, 'mnt'), join(this.run, 'mnt/ns')]);
    const mounts = mountsBelow(this.directory).filter((path) => !own.has(path));
    assert.deepEqual(mounts, [], 'mounts are left');
  }

  /** After everything else: nothing is damaged, nothing was set aside, nothing is left after a prune. */
  async assertSound(): Promise<void> {
    this.ok(['prune', '-f']);
    assert.deepEqual(this.state().unfinished, [], 'a prune left something half-written');
    assert.match(this.ok(['verify', '--all']), /: all as it was stored\n$/);
    assert.deepEqual(namesIn(join(this.root, 'quarantine')), []);
    await this.assertQuiet();
  }

  /** A file system of its own below the arena. Needs root. */
  mount(name: string, ...options: string[]): string {
    const path = this.path(name);
    mkdirSync(path, { recursive: true });
    const { status, stderr } = spawnSync('mount', [...options, path], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    this.#ownMounts.add(path);
    return path;
  }

  /** The end of a test: all is sound, and nothing is left of it. */
  async finish(): Promise<void> {
    try {
      await this.assertSound();
    } finally {
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    for (const pid of processesNaming(this.directory)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
    for (const path of mountsBelow(this.directory).reverse()) spawnSync('umount', ['-l', path]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A message for people: what is wrong, no stack, nothing internal, nothing that steers a terminal. */
function assertRefusal(outcome: Outcome, { status = 1, says }: Refusal, words: readonly string[]): void {
  const { stderr } = outcome;
  const shown = `imago ${words.join(' ')} -> ${outcome.status}\n${stderr}`;
  assert.equal(outcome.status, status, shown);
  assert.match(stderr, says, shown);
  assertForPeople(stderr, shown);
}

export function assertForPeople(text: string, shown: string = text): void {
  assert.doesNotMatch(text, /^\s+at .*[:(]/m, `a stack: ${shown}`);
  assert.doesNotMatch(text, /internal error|undefined|\[object|\bNaN\b|Warning:/, shown);
  assert.doesNotMatch(text, /[\x00-\x08\x0b-\x1f\x7f]/, `control characters: ${shown}`);
}
