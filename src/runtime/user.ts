import { ImagoError } from '../core/errors.ts';

/** Who a process runs as. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  /** From /etc/passwd; '/' where the user has no line there. */
  home: string;
}

/** The files that names are looked up in; undefined where the image has none. Bytes as latin1. */
export interface UserDatabase {
  passwd: string | undefined;
  group: string | undefined;
}

const MAX_ID = 2 ** 31 - 1;

/**
 * `text` is what `--user` and USER take: user, uid, user:group, uid:gid, mixed; empty is root.
 * As Docker: a number needs no line in /etc/passwd, its group is then 0; groups that list the user are added
 * unless a group is named.
 * Throws `UNKNOWN_USER`, `UNKNOWN_GROUP`.
 */
export function resolveUser(text: string, database: UserDatabase): ResolvedUser {
  const colon = text.indexOf(':');
  const userPart = (colon === -1 ? text : text.slice(0, colon)) || '0';
  const groupPart = colon === -1 ? '' : text.slice(colon + 1);
  const users = parseLines(database.passwd);
  // A name wins over a number, as in getpwnam; of several lines the first.
  const line =
    users.find((fields) => fields[0] === latin1(userPart)) ??
    users.find((fields) => isNumber(userPart) && Number(fields[2]) === Number(userPart));
  if (line === undefined && !isNumber(userPart)) {
    throw new ImagoError('UNKNOWN_USER', `unable to find user ${userPart}: no matching entries in passwd file`, {
      remedy: "name a user of the image's /etc/passwd, or give a number",
      exitCode: 125,
    });
  }
  const uid = checkId(line === undefined ? userPart : line[2], userPart);
  const groups = parseLines(database.group);
  const gid = groupPart === '' ? checkId(line?.[3] ?? '0', userPart) : findGroup(groupPart, groups);
  const name = line?.[0];
  const additionalGids =
    name === undefined || groupPart !== ''
      ? []
      : groups
          .filter((fields) => (fields[3] ?? '').split(',').includes(name))
          .map((fields) => Number(fields[2]))
          .filter((id) => Number.isInteger(id) && id >= 0 && id <= MAX_ID);
  return { uid, gid, additionalGids: [...new Set(additionalGids)], home: line?.[5] || '/' };
}

function findGroup(text: string, groups: string[][]): number {
  const line = groups.find((fields) => fields[0] === latin1(text));
  if (line !== undefined) return checkId(line[2], text);
  if (isNumber(text)) return checkId(text, text);
  throw new ImagoError('UNKNOWN_GROUP', `unable to find group ${text}: no matching entries in group file`, {
    remedy: "name a group of the image's /etc/group, or give a number",
    exitCode: 125,
  });
}

function parseLines(text: string | undefined): string[][] {
  if (text === undefined) return [];
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.replace(/\r$/, '').split(':'));
}

function isNumber(text: string): boolean {
  return /^[0-9]+$/.test(text);
}

function checkId(text: string | undefined, shown: string): number {
  const id = text !== undefined && isNumber(text) ? Number(text) : -1;
  if (id >= 0 && id <= MAX_ID) return id;
  throw new ImagoError('UNKNOWN_USER', `uids and gids must be in range 0-${MAX_ID}`, { got: shown, exitCode: 125 });
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
