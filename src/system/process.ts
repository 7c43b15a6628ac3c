import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { bindCall, SystemError } from './call.ts';
import { libcFunction } from './ffi.ts';

const pipeCall = bindCall<[Buffer, number]>('pipe2', ['void *', 'int'], 'int');
const dupCall = bindCall<[number]>('dup', ['int'], 'int');
const fcntlCall = bindCall<[number, number, number]>('fcntl', ['int', 'int', 'int'], 'int');
const dup3Call = bindCall<[number, number, number]>('dup3', ['int', 'int', 'int'], 'int');

const O_CLOEXEC = 0o2000000;
const O_RDWR = 2;
/** spawn.h of glibc and musl. */
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSID = 0x80;
const SIGPIPE = 13;
const SIGXFSZ = 25;

/** A process that cannot be mistaken for a later one with its number. */
export interface ProcessIdentity {
  pid: number;
  /** When it started, in clock ticks since boot: field 22 of proc_pid_stat(5). */
  started: number;
}

/** Undefined where there is no such process, or only its zombie. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The second field is the name in parentheses, and may itself hold blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, started: Number(fields[19]) };
}

export function isRunning(process: ProcessIdentity): boolean {
  return identifyProcess(process.pid)?.started === process.started;
}

/** Read, not set and set back as `process.umask()` does: other threads may be making files. */
export function currentUmask(): number {
  const line = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1'));
  return Number.parseInt(line?.[1] ?? '0', 8);
}

/** False where it has ended, and nobody else has its number. */
export function sendSignal(pid: number, signal: number | NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Both ends close-on-exec; the caller closes them. */
export function makePipe(): { read: number; write: number } {
  const buffer = Buffer.alloc(8);
  pipeCall(undefined, buffer, O_CLOEXEC);
  return { read: buffer.readInt32LE(0), write: buffer.readInt32LE(4) };
}

const F_DUPFD_CLOEXEC = 1030;

/** A copy of a descriptor that programs started from here on do not inherit. */
export function privateCopy(fd: number): number {
  return fcntlCall(undefined, fd, F_DUPFD_CLOEXEC, 0);
}

/** A copy of a descriptor that programs started from here on inherit. */
export function inheritableCopy(fd: number): number {
  return dupCall(undefined, fd);
}

/** Makes `target` name what `fd` names, too; what `target` named is closed. Programs inherit it if `inherited`. */
export function replaceDescriptor(fd: number, target: number, inherited: boolean): void {
  dup3Call(undefined, fd, target, inherited ? 0 : O_CLOEXEC);
}

/**
 * Starts a program in a session of its own, `stdin` as its input and nothing as its output, and does not wait for it.
 * A tenth of what node:child_process costs a short command. `more` are descriptors that it has, too, each under a
 * number that is in use here (all below ten are, in Node).
 */
export function spawnDetached(
  file: string,
  args: string[],
  env: string[],
  stdin: number,
  more: readonly { fd: number; as: number }[] = [],
): number {
  reapEnded();
  // Larger than any libc has them: posix_spawnattr_t is 336 bytes, posix_spawn_file_actions_t 80.
  const attributes = Buffer.alloc(512);
  const actions = Buffer.alloc(256);
  const pid = Buffer.alloc(4);
  const check = (call: string, result: unknown): void => {
    if (Number(result) !== 0) throw new SystemError(call, Number(result), file);
  };
  const run = (call: string, types: string[], ...values: unknown[]): void =>
    check(call, libcFunction(call, 'int', types)(...values));
  run('posix_spawnattr_init', ['void *'], attributes);
  run('posix_spawn_file_actions_init', ['void *'], actions);
  try {
    run('posix_spawnattr_setflags', ['void *', 'short'], attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
    run('posix_spawnattr_setsigdefault', ['void *', 'void *'], attributes, signalSet([SIGPIPE, SIGXFSZ]));
    const dup2 = ['void *', 'int', 'int'];
    run('posix_spawn_file_actions_adddup2', dup2, actions, stdin, 0);
    for (const { fd, as } of more) run('posix_spawn_file_actions_adddup2', dup2, actions, fd, as);
    const open = ['void *', 'int', 'str', 'int', 'uint'];
    run('posix_spawn_file_actions_addopen', open, actions, 1, '/dev/null', O_RDWR, 0);
    run('posix_spawn_file_actions_adddup2', dup2, actions, 1, 2);
    const types = ['void *', 'str', 'void *', 'void *', 'const char **', 'const char **'];
    run('posix_spawn', types, pid, file, actions, attributes, [...args, null], [...env, null]);
  } finally {
    run('posix_spawn_file_actions_destroy', ['void *'], actions);
    run('posix_spawnattr_destroy', ['void *'], attributes);
  }
  const started = pid.readInt32LE(0);
  unreaped.add(started);
  return started;
}

const unreaped = new Set<number>();
const WNOHANG = 1;

/**
 * A child that ended is kept by the kernel until it is waited for: no more than one call's worth of them in a long-lived
 * process. A thread that ends calls it, since only it knows its own.
 */
export function reapEnded(): void {
  for (const pid of unreaped) {
    if (Number(libcFunction('waitpid', 'int', ['int', 'void *', 'int'])(pid, null, WNOHANG)) !== 0)
      unreaped.delete(pid);
  }
}

/** sigset_t: one bit a signal, from 1; 1024 bits in every libc here. */
function signalSet(signals: number[]): Buffer {
  const set = Buffer.alloc(128);
  for (const signal of signals) {
    const bit = signal - 1;
    set[bit >> 3] = (set[bit >> 3] ?? 0) | (1 << (bit & 7));
  }
  return set;
}

/**
 * Becomes another program, keeping the process ID: execve(2). Does not return.
 * Node ignores SIGPIPE and SIGXFSZ, and what is ignored stays so over execve: they get their defaults back.
 */
export function becomeProgram(file: string, args: string[], env: Record<string, string>): never {
  const signal = libcFunction('signal', 'void *', ['int', 'void *']);
  signal(SIGPIPE, null);
  signal(SIGXFSZ, null);
  // Otherwise done when Node exits, which it never will.
  flushCompileCache();
  process.execve!(file, args, env);
  throw new Error('execve returned');
}
