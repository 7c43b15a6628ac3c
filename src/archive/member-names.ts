import { bytesOf } from '../core/bytes.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { cleanName } from './content.ts';

/** Links that are followed one after the other: more is a circle. */
const MAX_LINKS = 8;

type Named<T> = { kind: 'file'; value: T } | { kind: 'link'; target: string };

/**
 * What the members of an archive are called. Docker before 25 wrote a layer once and linked its other names to it, so
 * links are followed, inside the archive only. A later member of the same name counts.
 */
export class MemberNames<T> {
  readonly #members: Map<string, Named<T>> = new Map();

  /** `value` stands for the member where it is a file. */
  add(entry: TarEntry, value: T): void {
    const name = cleanName(textOf(entry.path));
    if (name === undefined) return;
    if (entry.type === 'file') this.#members.set(name, { kind: 'file', value });
    else if (entry.type === 'hardlink') this.#link(name, textOf(entry.linkname));
    else if (entry.type === 'symlink') this.#link(name, resolveLink(name, textOf(entry.linkname)));
  }

  find(name: string): T | undefined {
    let clean = cleanName(name);
    for (let i = 0; i <= MAX_LINKS && clean !== undefined; i++) {
      const member = this.#members.get(clean);
      if (member?.kind !== 'link') return member?.value;
      clean = cleanName(member.target);
    }
    return undefined;
  }

  values(): T[] {
    return [...this.#members.values()].flatMap((member) => (member.kind === 'file' ? [member.value] : []));
  }

  #link(name: string, target: string | undefined): void {
    if (target !== undefined) this.#members.set(name, { kind: 'link', target });
  }
}

function textOf(name: string): string {
  return new TextDecoder().decode(bytesOf(name));
}

/** A relative link from the directory of `name`; undefined where it leaves the archive. */
function resolveLink(name: string, target: string): string | undefined {
  if (target.startsWith('/')) return undefined;
  const parts = name.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join('/');
}
