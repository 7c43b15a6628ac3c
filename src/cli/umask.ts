const OWNER = 0o700;
let users = 0;

/**
 * Leaves the owner what a program cannot do without, whatever the umask takes: what is made here and by the programs
 * that are started would be closed to themselves. For the program alone: a library's umask is its process's.
 */
export function keepOwnersRights(): void {
  users = process.umask(OWNER);
  process.umask(users & ~OWNER);
}

/** Permission bits of a new file that is the user's, as the umask that the program was started with has them. */
export function userMode(mode: number): number {
  return mode & ~users;
}
