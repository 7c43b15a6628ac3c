import { byteString } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import type { ImageFiles } from '../context/image-source.ts';
import { findSource, readSource } from '../context/source.ts';
import type { Owner } from './place.ts';

const MAX_ID = 2 ** 32 - 2;
const MAX_DATABASE = 10 << 20;

/**
 * `--chown` and the owner of what WORKDIR makes: user, uid, user:group, uid:gid, mixed. Names are looked up in the
 * image's own /etc/passwd and /etc/group. Without a group it is the user's own, for a number the same number; an
 * empty name is root.
 * Throws `UNKNOWN_USER`, `UNKNOWN_GROUP`.
 */
export function resolveOwner(text: string, files: () => ImageFiles): Owner {
  const colon = text.indexOf(':');
  const user = colon < 0 ? text : text.slice(0, colon);
  const group = colon < 0 ? undefined : text.slice(colon + 1);
  const line = isNumber(user) ? undefined : findLine(files(), 'etc/passwd', user);
  if (line === undefined && !isNumber(user)) throw unknown('UNKNOWN_USER', 'user', user, '/etc/passwd');
  const uid = checkId(line?.[2] ?? numberOf(user), user);
  if (group === undefined) return { uid, gid: checkId(line?.[3] ?? numberOf(user), user) };
  if (isNumber(group)) return { uid, gid: checkId(numberOf(group), group) };
  const gid = findLine(files(), 'etc/group', group)?.[2];
  if (gid === undefined) throw unknown('UNKNOWN_GROUP', 'group', group, '/etc/group');
  return { uid, gid: checkId(gid, group) };
}

/** Whether an owner can be told without the image. */
export function isNumericOwner(text: string): boolean {
  return text.split(':').every(isNumber);
}

function findLine(files: ImageFiles, path: string, name: string): string[] | undefined {
  const node = findSource(files.root, path, true);
  if (node === undefined || node.type !== 'file' || node.size > MAX_DATABASE) return undefined;
  const wanted = byteString(name);
  for (const line of readSource(node).toString('latin1').split('\n')) {
    const fields = line.split(':');
    if (fields[0] === wanted) return fields;
  }
  return undefined;
}

/** As BuildKit: an empty name and root are 0 in every image. */
function isNumber(text: string): boolean {
  return /^[0-9]*$/.test(text) || text === 'root';
}

function numberOf(text: string): string {
  return text === '' || text === 'root' ? '0' : text;
}

function checkId(text: string, shown: string): number {
  const id = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (id <= MAX_ID) return id;
  throw new ImagoError('UNKNOWN_USER', 'a user or group number must be in range', { want: `0-${MAX_ID}`, got: shown });
}

function unknown(code: string, kind: string, name: string, path: string): ImagoError {
  return new ImagoError(code, `unable to find ${kind} ${name} in the image's ${path}`, {
    remedy: `name a ${kind} of the image, or give a number`,
  });
}
