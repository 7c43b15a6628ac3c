import { byteString } from '../../src/core/bytes.ts';
import { END_OF_ARCHIVE, encodeHeader, padding, type TarMember } from '../../src/formats/tar/write.ts';

export interface Member extends TarMember {
  content?: string;
}

export const TIME = { sec: 1_600_000_000, nsec: 0 } as const;

/** 'path' (a file), 'path=content', 'path/' (a directory), 'path -> target' (a symlink), 'path => source' (a hardlink). */
export function member(text: string, more: Partial<Member> = {}): Member {
  const base = { uid: 0, gid: 0, mtime: TIME, ...more };
  const [, path, arrow, rest] = /^(.*?)(?:( -> | => |=)(.*))?$/s.exec(text) as unknown as [
    string,
    string,
    string?,
    string?,
  ];
  const bytes = byteString(path);
  if (arrow === ' -> ') return { path: bytes, type: 'symlink', linkname: byteString(rest!), ...base };
  if (arrow === ' => ') return { path: bytes, type: 'hardlink', linkname: byteString(rest!), ...base };
  if (path.endsWith('/')) return { path: bytes, type: 'directory', mode: 0o755, ...base };
  const content = rest ?? '';
  return { path: bytes, type: 'file', mode: 0o644, size: Buffer.byteLength(content), content, ...base };
}

export function makeTar(members: (Member | string)[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const item of members) {
    const m = typeof item === 'string' ? member(item) : item;
    const content = Buffer.from(m.content ?? '');
    parts.push(encodeHeader(m), content, Buffer.alloc(padding(content.length)));
  }
  return Buffer.concat([...parts, END_OF_ARCHIVE]);
}
