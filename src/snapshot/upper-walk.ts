import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import { type ByteString, byteString } from '../core/bytes.ts';
import { getXattr, listXattrs } from '../system/xattr.ts';

/** One file of a writable layer. A whiteout says that the lower file of its name is deleted. */
export interface UpperFile {
  /** From the root of the image: 'a/b', '' for the root. */
  path: ByteString;
  /** For calls of node:fs. */
  hostPath: Buffer;
  stat: BigIntStats;
  whiteout: boolean;
  /** A directory through which nothing below shows. */
  opaque: boolean;
  /** Names as upper has them. */
  xattrs: ByteString[];
}

const OPAQUE = 'trusted.overlay.opaque';

/** The files of an overlay's upper directory, the root first, parents before children, siblings in order of bytes. */
export function* walkUpper(upper: string): Generator<UpperFile> {
  yield* walk(byteString(upper), '');
}

function* walk(host: ByteString, path: ByteString): Generator<UpperFile> {
  const hostPath = Buffer.from(host, 'latin1');
  const stat = lstatSync(hostPath, { bigint: true });
  const directory = stat.isDirectory();
  const xattrs = listXattrs(hostPath);
  yield {
    path,
    hostPath,
    stat,
    whiteout: stat.isCharacterDevice() && stat.rdev === 0n,
    opaque: directory && path !== '' && xattrs.includes(OPAQUE) && getXattr(hostPath, OPAQUE)?.toString() === 'y',
    xattrs,
  };
  if (!directory) return;
  for (const name of readdirSync(hostPath, 'latin1').sort()) {
    yield* walk(`${host}/${name}`, path === '' ? name : `${path}/${name}`);
  }
}
