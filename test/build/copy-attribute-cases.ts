import { type CopyCase, tree } from './copy-cases.ts';

const NAMES = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n',
  'etc/group': 'root:x:0:\nbob:x:1001:\nstaff:x:50:\n',
};
const TREE = { 'p/q/r/s': '1', 'p/q/r/t.log': '22', 'p/q2/r/u': '333', 'p/v': '4444', 'p/lnk': '->q/r' };

/** Why an engine does otherwise. */
const FLAG = 'the flag is younger';
const SYMBOLIC = 'octal modes only';
const VARIABLE = 'variables in --chmod are younger';
const OWNERS = "--chown says nothing of an archive's files";
const CREATED = '--chmod is not given to directories that are made';
const EXCLUDE = 'patterns are relative to the context, or to the parent of the source';
const NO_GROUP = "no group is the user's number";

const attributes: CopyCase[] = [
  {
    name: '--chmod of a tree',
    lines: 'COPY --chmod=640 dir /dst',
    differs: { docker: CREATED, buildah: CREATED },
    want: tree(
      'd 0640 0:0 dst; l 0777 0:0 dst/link -> sub/two; f 0640 0:0 dst/one 1; d 0640 0:0 dst/sub; f 0640 0:0 dst/sub/two 2',
    ),
  },
  {
    name: '--chmod with a sticky bit',
    lines: 'COPY --chmod=1777 empty /t',
    differs: { docker: CREATED, buildah: CREATED },
    want: tree('d 0777 0:0 t'),
  },
  {
    name: '--chmod with a sticky bit, below',
    lines: 'COPY --chmod=1777 empty dir /t/',
    differs: { docker: CREATED, buildah: CREATED },
    want: tree(
      'd 0777 0:0 t; l 0777 0:0 t/link -> sub/two; f 1777 0:0 t/one 1; d 1777 0:0 t/sub; f 1777 0:0 t/sub/two 2',
    ),
  },
  {
    name: '--chmod of directories that are made',
    lines: 'COPY --chmod=4711 a.txt /p/q/x',
    differs: { docker: CREATED, buildah: CREATED },
    want: tree('d 0711 0:0 p; d 0711 0:0 p/q; f 4711 0:0 p/q/x 1'),
  },
  { name: '--chmod=0', lines: 'COPY --chmod=0 a.txt /x', want: tree('f 0000 0:0 x 1') },
  {
    name: '--chmod by a variable',
    lines: 'ARG m=700\nCOPY --chmod=$m a.txt /x',
    differs: { docker: VARIABLE },
    want: tree('f 0700 0:0 x 1'),
  },
  {
    name: '--chmod again',
    lines: 'COPY --chmod=700 dir /x\nCOPY --chmod=711 dir /x',
    differs: { docker: CREATED, buildah: CREATED },
    want: tree(
      'd 0700 0:0 x; l 0777 0:0 x/link -> sub/two; f 0711 0:0 x/one 1; d 0711 0:0 x/sub; f 0711 0:0 x/sub/two 2',
    ),
  },
  {
    name: '--chmod=u=rwX,go=rX',
    lines: 'COPY --chmod=751 p/v /p/\nFROM scratch\nCOPY --from=0 --chmod=u=rwX,go=rX /p /x',
    files: TREE,
    differs: { docker: SYMBOLIC, buildah: SYMBOLIC },
    want: tree('d 0755 0:0 x; f 0755 0:0 x/v 4'),
  },
  {
    name: '--chmod=go-rwx',
    lines: 'COPY --chmod=go-rwx p /x',
    files: TREE,
    differs: { docker: SYMBOLIC, buildah: SYMBOLIC },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0700 0:0 x/q; d 0700 0:0 x/q/r; f 0600 0:0 x/q/r/s 1; f 0600 0:0 x/q/r/t.log 2; d 0700 0:0 x/q2; d 0700 0:0 x/q2/r; f 0600 0:0 x/q2/r/u 3; f 0600 0:0 x/v 4',
    ),
  },
  {
    name: '--chmod=+x',
    lines: 'COPY --chmod=+x p/v /x',
    files: TREE,
    differs: { docker: SYMBOLIC, buildah: SYMBOLIC },
    want: tree('f 0755 0:0 x 4'),
  },
  {
    name: '--chmod=g=u,o=',
    lines: 'COPY --chmod=g=u,o= p /x',
    files: TREE,
    differs: { docker: SYMBOLIC, buildah: SYMBOLIC },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0770 0:0 x/q; d 0770 0:0 x/q/r; f 0660 0:0 x/q/r/s 1; f 0660 0:0 x/q/r/t.log 2; d 0770 0:0 x/q2; d 0770 0:0 x/q2/r; f 0660 0:0 x/q2/r/u 3; f 0660 0:0 x/v 4',
    ),
  },
  {
    name: '--chmod=u+s,+t, and not for directories that are made',
    lines: 'COPY --chmod=u+s,+t p/v /n/x',
    files: TREE,
    differs: { docker: SYMBOLIC, buildah: SYMBOLIC },
    want: tree('d 0755 0:0 n; f 5644 0:0 n/x 4'),
  },
  {
    name: '--chown=bob',
    lines: 'COPY etc /etc/\nCOPY --chown=bob dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 1000:1001 x; d 0755 1000:1001 x/y; l 0777 1000:1001 x/y/link -> sub/two; f 0644 1000:1001 x/y/one 1; d 0755 1000:1001 x/y/sub; f 0644 1000:1001 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=bob:staff',
    lines: 'COPY etc /etc/\nCOPY --chown=bob:staff dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 1000:50 x; d 0755 1000:50 x/y; l 0777 1000:50 x/y/link -> sub/two; f 0644 1000:50 x/y/one 1; d 0755 1000:50 x/y/sub; f 0644 1000:50 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=1:staff',
    lines: 'COPY etc /etc/\nCOPY --chown=1:staff dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 1:50 x; d 0755 1:50 x/y; l 0777 1:50 x/y/link -> sub/two; f 0644 1:50 x/y/one 1; d 0755 1:50 x/y/sub; f 0644 1:50 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=bob:9',
    lines: 'COPY etc /etc/\nCOPY --chown=bob:9 dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 1000:9 x; d 0755 1000:9 x/y; l 0777 1000:9 x/y/link -> sub/two; f 0644 1000:9 x/y/one 1; d 0755 1000:9 x/y/sub; f 0644 1000:9 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=5:',
    lines: 'COPY etc /etc/\nCOPY --chown=5: dir /x/y',
    files: NAMES,
    differs: { buildah: NO_GROUP },
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 5:0 x; d 0755 5:0 x/y; l 0777 5:0 x/y/link -> sub/two; f 0644 5:0 x/y/one 1; d 0755 5:0 x/y/sub; f 0644 5:0 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=5:6',
    lines: 'COPY etc /etc/\nCOPY --chown=5:6 dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 5:6 x; d 0755 5:6 x/y; l 0777 5:6 x/y/link -> sub/two; f 0644 5:6 x/y/one 1; d 0755 5:6 x/y/sub; f 0644 5:6 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=:9',
    lines: 'COPY etc /etc/\nCOPY --chown=:9 dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 0:9 x; d 0755 0:9 x/y; l 0777 0:9 x/y/link -> sub/two; f 0644 0:9 x/y/one 1; d 0755 0:9 x/y/sub; f 0644 0:9 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=:staff',
    lines: 'COPY etc /etc/\nCOPY --chown=:staff dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 0:50 x; d 0755 0:50 x/y; l 0777 0:50 x/y/link -> sub/two; f 0644 0:50 x/y/one 1; d 0755 0:50 x/y/sub; f 0644 0:50 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=root',
    lines: 'COPY etc /etc/\nCOPY --chown=root dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 0:0 x; d 0755 0:0 x/y; l 0777 0:0 x/y/link -> sub/two; f 0644 0:0 x/y/one 1; d 0755 0:0 x/y/sub; f 0644 0:0 x/y/sub/two 2',
    ),
  },
  {
    name: '--chown=root:root',
    lines: 'COPY etc /etc/\nCOPY --chown=root:root dir /x/y',
    files: NAMES,
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 0:0 x; d 0755 0:0 x/y; l 0777 0:0 x/y/link -> sub/two; f 0644 0:0 x/y/one 1; d 0755 0:0 x/y/sub; f 0644 0:0 x/y/sub/two 2',
    ),
  },
  {
    name: '--chmod and --chown of an inline file',
    lines: 'COPY --chmod=755 --chown=7:8 <<EOF /x\nhello\nEOF',
    want: tree('f 0755 7:8 x 6'),
  },
  {
    name: 'inline files beside a file',
    lines: 'COPY a.txt <<b <<"c" /x/\n1\nb\n$x\nc',
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a.txt 1; f 0644 0:0 x/b 2; f 0644 0:0 x/c 3'),
  },
];

const archive: CopyCase[] = [
  {
    name: 'unpacked',
    lines: 'ADD t.tar /x',
    archive: true,
    want: tree(
      'd 0755 0:0 x; f 4711 5:6 x/g 2; d 0750 5:6 x/in; f 0644 5:6 x/in/f 1; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
  { name: 'not by COPY', lines: 'COPY t.tar /x/', archive: true, want: tree('d 0755 0:0 x; f 0644 0:0 x/t.tar 10240') },
  {
    name: 'not with --unpack=false',
    lines: 'ADD --unpack=false t.tar /x/',
    archive: true,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/t.tar 10240'),
  },
  {
    name: 'an inline file is none',
    lines: 'ADD <<a.tar /x/\n1\na.tar',
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a.tar 2'),
  },
  {
    name: 'before a directory',
    lines: 'ADD t.tar over /x/',
    files: { 'over/in/f': 'longer' },
    archive: true,
    want: tree(
      'd 0755 0:0 x; f 4711 5:6 x/g 2; d 0755 0:0 x/in; f 0644 0:0 x/in/f 6; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
  {
    name: 'behind a directory',
    lines: 'ADD over t.tar /x/',
    files: { 'over/in/f': 'longer' },
    archive: true,
    want: tree(
      'd 0755 0:0 x; f 4711 5:6 x/g 2; d 0750 5:6 x/in; f 0644 5:6 x/in/f 1; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
  {
    name: 'through a symlink',
    lines: 'COPY dir /real/\nCOPY lnk /\nADD t.tar /to',
    files: { 'lnk/to': '->/real' },
    archive: true,
    want: tree(
      'd 0755 0:0 real; f 4711 5:6 real/g 2; d 0750 5:6 real/in; f 0644 5:6 real/in/f 1; f 4711 5:6 real/in/hard 2; l 0777 5:6 real/in/sym -> ../g; l 0777 0:0 real/link -> sub/two; f 0644 0:0 real/one 1; d 0755 0:0 real/sub; f 0644 0:0 real/sub/two 2; l 0777 0:0 to -> /real',
    ),
  },
  {
    name: 'over a symlink',
    lines: 'COPY lnk /x/\nADD t.tar /x',
    files: { 'lnk/in': '->/real' },
    archive: true,
    want: tree(
      'd 0755 0:0 x; f 4711 5:6 x/g 2; d 0750 5:6 x/in; f 0644 5:6 x/in/f 1; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
  {
    name: 'with --chown',
    lines: 'ADD --chown=7:8 t.tar /x/y',
    archive: true,
    differs: { docker: OWNERS, buildah: OWNERS },
    want: tree(
      'd 0755 7:8 x; d 0755 7:8 x/y; f 4711 7:8 x/y/g 2; d 0750 7:8 x/y/in; f 0644 7:8 x/y/in/f 1; f 4711 7:8 x/y/in/hard 2; l 0777 7:8 x/y/in/sym -> ../g',
    ),
  },
  {
    name: 'with --chmod, which it does not heed',
    lines: 'ADD --chmod=700 t.tar /x/y',
    archive: true,
    want: tree(
      'd 0755 0:0 x; d 0755 0:0 x/y; f 4711 5:6 x/y/g 2; d 0750 5:6 x/y/in; f 0644 5:6 x/y/in/f 1; f 4711 5:6 x/y/in/hard 2; l 0777 5:6 x/y/in/sym -> ../g',
    ),
  },
  {
    name: 'several, without a slash',
    lines: 'ADD *.tar /dest',
    archive: true,
    want: tree(
      'd 0755 0:0 dest; d 0755 0:0 dest/deep; d 0755 0:0 dest/deep/er; f 0644 5:6 dest/deep/er/f 2; f 4711 5:6 dest/g 2; d 0750 5:6 dest/in; f 0644 5:6 dest/in/f 1; f 4711 5:6 dest/in/hard 2; l 0777 5:6 dest/in/sym -> ../g',
    ),
  },
  {
    name: 'that implies directories',
    lines: 'ADD i.tar /x/',
    archive: true,
    want: tree('d 0755 0:0 x; d 0755 0:0 x/deep; d 0755 0:0 x/deep/er; f 0644 5:6 x/deep/er/f 2'),
  },
  {
    name: 'that implies directories, with --chown',
    lines: 'ADD --chown=7:8 i.tar /x/',
    archive: true,
    differs: { docker: OWNERS, buildah: OWNERS },
    want: tree('d 0755 7:8 x; d 0755 0:0 x/deep; d 0755 0:0 x/deep/er; f 0644 7:8 x/deep/er/f 2'),
  },
  {
    name: 'over a directory of its own attributes',
    lines: 'COPY --chmod=700 --chown=3:3 old /x/\nADD t.tar /x/',
    files: { 'old/in/f': '1' },
    archive: true,
    differs: { docker: CREATED, buildah: CREATED },
    want: tree(
      'd 0700 3:3 x; f 4711 5:6 x/g 2; d 0750 5:6 x/in; f 0644 5:6 x/in/f 1; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
  {
    name: 'with --exclude, which it does not heed',
    lines: 'ADD --exclude=t.tar --exclude=in t.tar /x/',
    archive: true,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; f 4711 5:6 x/g 2; d 0750 5:6 x/in; f 0644 5:6 x/in/f 1; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
];

/** --chmod, --chown, and archives. */
export const attributeCases: (CopyCase & { group: string })[] = Object.entries({ attributes, archive }).flatMap(
  ([group, cases]) => cases.map((item) => ({ ...item, group })),
);
