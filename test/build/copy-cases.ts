import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Files } from './lab.ts';

/** What a Dockerfile's COPY and ADD lines leave in an image: the cases that Docker's users know or stumble over. */
export interface CopyCase {
  name: string;
  files?: Files;
  /** After FROM scratch. */
  lines: string;
  /** The image's tree: type, mode, owner, path, then size or target. */
  want: string[];
  /** There are archives in the context (`writeArchives`). */
  archive?: boolean;
  /** Why another engine gives another tree: docker 26, buildah 1.39. */
  differs?: { docker?: string; buildah?: string };
}

/** A tree in one line. */
export function tree(text: string): string[] {
  return text.split('; ');
}

/** Of a context: t.tar, the same as d/t.tar, and i.tar that implies directories; their files belong to 5:6. */
export function writeArchives(context: string): void {
  const work = mkdtempSync(join(tmpdir(), 'imago-tar-'));
  try {
    for (const directory of ['in', 'deep/er']) mkdirSync(join(work, directory), { recursive: true });
    for (const [name, text] of Object.entries({ 'in/f': 'f', g: 'gg', 'deep/er/f': 'x\n' })) {
      writeFileSync(join(work, name), text);
    }
    chmodSync(join(work, 'in'), 0o750);
    chmodSync(join(work, 'g'), 0o4711);
    linkSync(join(work, 'g'), join(work, 'in/hard'));
    symlinkSync('../g', join(work, 'in/sym'));
    const pack = (archive: string, ...names: string[]): void => {
      const flags = ['--owner=5', '--group=6', '--numeric-owner', '--mtime=@1000000000', '-C', work];
      execFileSync('tar', [...flags, '-cf', join(context, archive), ...names]);
    };
    pack('t.tar', './in', 'g');
    mkdirSync(join(context, 'd'));
    copyFileSync(join(context, 't.tar'), join(context, 'd/t.tar'));
    pack('i.tar', 'deep/er/f');
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** What is in every case's context. */
export const FILES: Files = {
  'a.txt': 'a',
  'b.txt': 'bb',
  'c.log': 'ccc',
  'dir/one': '1',
  'dir/sub/two': '22',
  'dir/link': '->sub/two',
  dirlink: '->dir',
  filelink: '->a.txt',
  'empty/': '',
  'with space': 's',
};

const TREE = [
  'd 0755 0:0 dst',
  'l 0777 0:0 dst/link -> sub/two',
  'f 0644 0:0 dst/one 1',
  'd 0755 0:0 dst/sub',
  'f 0644 0:0 dst/sub/two 2',
];

export const copyCases: (CopyCase & { files: Files })[] = (
  [
    { name: 'a file to a new name', lines: 'COPY a.txt /x', want: ['f 0644 0:0 x 1'] },
    {
      name: 'a file into a directory that is made',
      lines: 'COPY a.txt /x/',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1'],
    },
    {
      name: 'a file below directories that are made',
      lines: 'COPY a.txt /x/y/z',
      want: ['d 0755 0:0 x', 'd 0755 0:0 x/y', 'f 0644 0:0 x/y/z 1'],
    },
    {
      name: 'a file into a directory that is there',
      lines: 'COPY a.txt /x/\nCOPY b.txt /x',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1', 'f 0644 0:0 x/b.txt 2'],
    },
    { name: 'a file over a file', lines: 'COPY a.txt /x\nCOPY b.txt /x', want: ['f 0644 0:0 x 2'] },
    {
      name: 'files into a directory',
      lines: 'COPY a.txt b.txt /x/',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1', 'f 0644 0:0 x/b.txt 2'],
    },
    { name: 'the contents of a directory', lines: 'COPY dir /dst', want: TREE },
    { name: 'with a slash behind both', lines: 'COPY dir/ /dst/', want: TREE },
    { name: 'with a dot', lines: 'COPY ./dir/. /dst', want: TREE },
    {
      name: 'into a directory that is there',
      lines: 'COPY a.txt /dst/\nCOPY dir /dst',
      want: ['d 0755 0:0 dst', 'f 0644 0:0 dst/a.txt 1', ...TREE.slice(1)],
    },
    {
      name: 'directories side by side',
      lines: 'COPY dir empty a.txt /dst/',
      want: ['d 0755 0:0 dst', 'f 0644 0:0 dst/a.txt 1', ...TREE.slice(1)],
    },
    { name: 'an empty directory', lines: 'COPY empty /dst', want: ['d 0755 0:0 dst'] },
    {
      name: 'a directory into the root',
      lines: 'COPY dir /',
      want: ['l 0777 0:0 link -> sub/two', 'f 0644 0:0 one 1', 'd 0755 0:0 sub', 'f 0644 0:0 sub/two 2'],
    },
    { name: 'a link to a file is followed', lines: 'COPY filelink /x', want: ['f 0644 0:0 x 1'] },
    { name: 'and keeps its own name', lines: 'COPY filelink /x/', want: ['d 0755 0:0 x', 'f 0644 0:0 x/filelink 1'] },
    { name: 'a link to a directory is followed', lines: 'COPY dirlink /dst', want: TREE },
    { name: 'a path through a link', lines: 'COPY dirlink/sub/two /x', want: ['f 0644 0:0 x 2'] },
    { name: 'a path that tries to leave', lines: 'COPY ../../a.txt /x', want: ['f 0644 0:0 x 1'] },
    { name: 'an absolute source is one in the context', lines: 'COPY /a.txt /x', want: ['f 0644 0:0 x 1'] },
    {
      name: 'a wildcard',
      lines: 'COPY *.txt /x/',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1', 'f 0644 0:0 x/b.txt 2'],
    },
    {
      name: 'a question mark and a class',
      lines: 'COPY ?.[lt][^z]* /x/',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1', 'f 0644 0:0 x/b.txt 2', 'f 0644 0:0 x/c.log 3'],
    },
    { name: 'a wildcard in the middle', lines: 'COPY */sub/t* /x/', want: ['d 0755 0:0 x', 'f 0644 0:0 x/two 2'] },
    { name: 'a wildcard that matches a directory', lines: 'COPY di? /dst', want: TREE },
    {
      name: 'names with spaces in JSON',
      lines: 'COPY ["with space", "/x y/"]',
      want: ['d 0755 0:0 x y', 'f 0644 0:0 x y/with space 1'],
    },
    {
      name: 'relative to WORKDIR',
      lines: 'WORKDIR /w\nCOPY a.txt .\nCOPY b.txt sub/\nCOPY c.log ../c',
      want: ['f 0644 0:0 c 3', 'd 0755 0:0 w', 'f 0644 0:0 w/a.txt 1', 'd 0755 0:0 w/sub', 'f 0644 0:0 w/sub/b.txt 2'],
    },
    {
      name: '--chown by numbers',
      lines: 'COPY --chown=7:8 dir /dst',
      want: TREE.map((line) => line.replace('0:0', '7:8')),
    },
    { name: '--chown by one number', lines: 'COPY --chown=7 a.txt /x', want: ['f 0644 7:7 x 1'] },
    {
      name: '--chown counts for directories that are made',
      lines: 'COPY --chown=7:8 a.txt /x/y/',
      want: ['d 0755 7:8 x', 'd 0755 7:8 x/y', 'f 0644 7:8 x/y/a.txt 1'],
    },
    {
      name: '--chown leaves what is there',
      lines: 'COPY a.txt /x/\nCOPY --chown=7:8 b.txt /x/',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1', 'f 0644 7:8 x/b.txt 2'],
    },
    { name: '--chmod of a file', lines: 'COPY --chmod=4750 a.txt /x', want: ['f 4750 0:0 x 1'] },
    {
      name: 'attributes of a directory that is there below the destination',
      lines: 'COPY --chown=7:8 dir/sub /dst/sub\nCOPY dir /dst',
      want: TREE.map((line) => (line === 'd 0755 0:0 dst' ? 'd 0755 7:8 dst' : line)),
    },
    {
      name: 'a link in the image leads on',
      lines: 'COPY dir /real/\nCOPY lnk /\nCOPY a.txt /to/',
      want: [
        'd 0755 0:0 real',
        'f 0644 0:0 real/a.txt 1',
        'l 0777 0:0 real/link -> sub/two',
        'f 0644 0:0 real/one 1',
        'd 0755 0:0 real/sub',
        'f 0644 0:0 real/sub/two 2',
        'l 0777 0:0 to -> /real',
      ],
      files: { 'lnk/to': '->/real' },
    },
    {
      name: 'a link in the image that tries to leave',
      lines: 'COPY lnk /\nCOPY a.txt /out/x',
      want: ['d 0755 0:0 etc2', 'f 0644 0:0 etc2/x 1', 'l 0777 0:0 out -> ../../../etc2'],
      files: { 'lnk/out': '->../../../etc2' },
    },
    {
      name: 'hard links stay',
      lines: 'COPY hard /h',
      want: ['d 0755 0:0 h', 'f 0644 0:0 h/1 1', 'f 0644 0:0 h/2 1'],
      files: { 'hard/1': 'x', 'hard/2': 'x' },
    },
    { name: 'an inline file', lines: 'COPY <<EOF /x\nhello\nEOF', want: ['f 0644 0:0 x 6'] },
    {
      name: 'inline files into a directory',
      lines: 'COPY <<a <<b /x/\n1\na\n22\nb',
      want: ['d 0755 0:0 x', 'f 0644 0:0 x/a 2', 'f 0644 0:0 x/b 3'],
    },
    {
      name: 'COPY --from a stage keeps owners, but not that of the directory itself',
      lines: 'COPY --chown=7:8 dir /dst\nFROM scratch\nCOPY --from=0 /dst /dst',
      want: TREE.map((line) => (line === TREE[0] ? line : line.replace('0:0', '7:8'))),
    },
    {
      name: '.dockerignore',
      lines: 'COPY . /x/',
      want: [
        'd 0755 0:0 x',
        'f 0644 0:0 x/.dockerignore 44',
        'd 0755 0:0 x/dir',
        'd 0755 0:0 x/dir/sub',
        'f 0644 0:0 x/dir/sub/two 2',
        'd 0755 0:0 x/empty',
      ],
      files: { '.dockerignore': '*.*\n!.dockerignore\n*l*\ndir/*\n!dir/sub\nwi*\n'.replace('*l*\n', '*link\n') },
    },
    { name: 'ADD a file', lines: 'ADD a.txt /x/', want: ['d 0755 0:0 x', 'f 0644 0:0 x/a.txt 1'] },
  ] as CopyCase[]
).map((item) => ({ ...item, files: { ...FILES, ...item.files } }));
