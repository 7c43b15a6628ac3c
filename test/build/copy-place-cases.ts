import { type CopyCase, tree } from './copy-cases.ts';

const NAMES = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n',
  'etc/group': 'root:x:0:\nbob:x:1001:\nstaff:x:50:\n',
};

/** Why an engine does otherwise. */
const FLAG = 'the flag is younger';
const LINK_NAMES = 'names are not looked up for --link (moby/buildkit#2987)';
const CREATED = '--chmod is not given to directories that are made';
const THROUGH = 'a symlink at the destination is replaced';
const NO_MATCH = 'a wildcard without a match is an error';
const DOT = 'a dot at the end is no slash';

const link: CopyCase[] = [
  {
    name: 'into directories that are made',
    lines: 'COPY --link a.txt /x/y/',
    differs: { buildah: FLAG },
    want: tree('d 0755 0:0 x; d 0755 0:0 x/y; f 0644 0:0 x/y/a.txt 1'),
  },
  {
    name: "directories on the way are root's anew",
    lines: 'COPY --chown=7:8 a.txt /x/\nCOPY --link b.txt /x/',
    differs: { buildah: FLAG },
    want: tree('d 0755 0:0 x; f 0644 7:8 x/a.txt 1; f 0644 0:0 x/b.txt 2'),
  },
  {
    name: 'and have their usual mode',
    lines: 'COPY --chmod=700 a.txt /x/y/\nCOPY --link a.txt /x/y/b',
    differs: { buildah: FLAG },
    want: tree('d 0755 0:0 x; d 0755 0:0 x/y; f 0700 0:0 x/y/a.txt 1; f 0644 0:0 x/y/b 1'),
  },
  {
    name: 'a symlink on the way is replaced',
    lines: 'COPY dir /real/\nCOPY lnk /\nCOPY --link a.txt /to/',
    files: { 'lnk/to': '->/real' },
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 0:0 real; l 0777 0:0 real/link -> sub/two; f 0644 0:0 real/one 1; d 0755 0:0 real/sub; f 0644 0:0 real/sub/two 2; d 0755 0:0 to; f 0644 0:0 to/a.txt 1',
    ),
  },
  {
    name: 'a symlink at the destination is replaced',
    lines: 'COPY lnk /\nCOPY b.txt /t\nCOPY --link a.txt /to',
    files: { 'lnk/to': '->/t' },
    differs: { buildah: FLAG },
    want: tree('f 0644 0:0 t 2; f 0644 0:0 to 1'),
  },
  {
    name: 'a directory at the destination is replaced by a file',
    lines: 'COPY dir /x\nCOPY --link a.txt /x',
    differs: { buildah: FLAG },
    want: tree('f 0644 0:0 x 1'),
  },
  {
    name: 'a file at the destination is replaced by a directory',
    lines: 'COPY a.txt /x\nCOPY --link dir /x',
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'directories are merged',
    lines: 'COPY dir /x\nCOPY --link empty /x',
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'one over another',
    lines: 'COPY --link dir a.txt /x/\nCOPY --link b.txt /x/sub/two',
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 0:0 x; f 0644 0:0 x/a.txt 1; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'relative to WORKDIR',
    lines: 'WORKDIR /w\nCOPY --link a.txt .\nCOPY --link b.txt sub/',
    differs: { buildah: FLAG },
    want: tree('d 0755 0:0 w; f 0644 0:0 w/a.txt 1; d 0755 0:0 w/sub; f 0644 0:0 w/sub/b.txt 2'),
  },
  {
    name: '--chown counts for directories that are made',
    lines: 'COPY --chown=7:8 --link dir /p/q',
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 7:8 p; d 0755 7:8 p/q; l 0777 7:8 p/q/link -> sub/two; f 0644 7:8 p/q/one 1; d 0755 7:8 p/q/sub; f 0644 7:8 p/q/sub/two 2',
    ),
  },
  {
    name: 'with --chmod it is an ordinary copy',
    lines: 'COPY --chown=7 a.txt /x/\nCOPY --link --chmod=700 b.txt /x/',
    differs: { buildah: FLAG },
    want: tree('d 0755 7:7 x; f 0644 7:7 x/a.txt 1; f 0700 0:0 x/b.txt 2'),
  },
  {
    name: 'with --chmod symlinks are followed',
    lines: 'COPY dir /real/\nCOPY lnk /\nCOPY --link --chmod=700 a.txt /to/',
    files: { 'lnk/to': '->/real' },
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 0:0 real; f 0700 0:0 real/a.txt 1; l 0777 0:0 real/link -> sub/two; f 0644 0:0 real/one 1; d 0755 0:0 real/sub; f 0644 0:0 real/sub/two 2; l 0777 0:0 to -> /real',
    ),
  },
  {
    name: 'from a stage',
    lines: 'COPY --chown=7:8 dir /d\nFROM scratch\nCOPY b.txt /d/\nCOPY --link --from=0 /d /d',
    differs: { buildah: FLAG },
    want: tree(
      'd 0755 0:0 d; f 0644 0:0 d/b.txt 2; l 0777 7:8 d/link -> sub/two; f 0644 7:8 d/one 1; d 0755 7:8 d/sub; f 0644 7:8 d/sub/two 2',
    ),
  },
  {
    name: 'of nothing',
    lines: 'COPY a.txt /a\nCOPY --link nomatch* /x/',
    differs: { buildah: FLAG },
    want: tree('f 0644 0:0 a 1'),
  },
  {
    name: 'of an archive',
    lines: 'COPY a.txt /\nADD --link t.tar /x/',
    archive: true,
    differs: { buildah: FLAG },
    want: tree(
      'f 0644 0:0 a.txt 1; d 0755 0:0 x; f 4711 5:6 x/g 2; d 0750 5:6 x/in; f 0644 5:6 x/in/f 1; f 4711 5:6 x/in/hard 2; l 0777 5:6 x/in/sym -> ../g',
    ),
  },
  {
    name: 'of an inline file',
    lines: 'COPY --link <<EOF /x/y\nhi\nEOF',
    differs: { buildah: FLAG },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/y 3'),
  },
  {
    name: '--chown=root in an image without names',
    lines: 'COPY --link --chown=root:root a.txt /x',
    differs: { buildah: FLAG },
    want: tree('f 0644 0:0 x 1'),
  },
  {
    name: 'names of --chown are those of the image',
    lines: 'COPY etc /etc/\nCOPY --link --chown=bob a.txt /x/y',
    files: NAMES,
    differs: { docker: LINK_NAMES, buildah: FLAG },
    want: tree(
      'd 0755 0:0 etc; f 0644 0:0 etc/group 34; f 0644 0:0 etc/passwd 65; d 0755 1000:1001 x; f 0644 1000:1001 x/y 1',
    ),
  },
];

const place: CopyCase[] = [
  {
    name: 'a file into a directory without a slash',
    lines: 'COPY dir /x\nCOPY a.txt /x',
    want: tree(
      'd 0755 0:0 x; f 0644 0:0 x/a.txt 1; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'a file over a symlink below the destination',
    lines: 'COPY old /x\nCOPY new /x',
    files: { 'old/f': '->nowhere', 'new/f': 'file' },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/f 4'),
  },
  {
    name: 'a symlink over a file',
    lines: 'COPY old /x\nCOPY new /x',
    files: { 'old/f': 'file', 'new/f': '->nowhere' },
    want: tree('d 0755 0:0 x; l 0777 0:0 x/f -> nowhere'),
  },
  {
    name: 'a symlink over a symlink',
    lines: 'COPY old /x\nCOPY new /x',
    files: { 'old/f': '->a', 'new/f': '->b' },
    want: tree('d 0755 0:0 x; l 0777 0:0 x/f -> b'),
  },
  {
    name: 'a file through a symlink',
    lines: 'COPY a.txt /t\nCOPY lnk /\nCOPY b.txt /to',
    files: { 'lnk/to': '->/t' },
    differs: { buildah: THROUGH },
    want: tree('f 0644 0:0 t 2; l 0777 0:0 to -> /t'),
  },
  {
    name: 'a file through a symlink to nothing',
    lines: 'COPY lnk /\nCOPY b.txt /to',
    files: { 'lnk/to': '->/nowhere' },
    differs: { buildah: THROUGH },
    want: tree('f 0644 0:0 nowhere 2; l 0777 0:0 to -> /nowhere'),
  },
  {
    name: 'into a directory that a symlink lacks',
    lines: 'COPY lnk /\nCOPY b.txt /to/',
    files: { 'lnk/to': '->/nowhere' },
    want: tree('d 0755 0:0 nowhere; f 0644 0:0 nowhere/b.txt 2; l 0777 0:0 to -> /nowhere'),
  },
  {
    name: 'a directory through a symlink to nothing',
    lines: 'COPY lnk /\nCOPY dir /to',
    files: { 'lnk/to': '->nowhere/deep' },
    want: tree(
      'd 0755 0:0 nowhere; d 0755 0:0 nowhere/deep; l 0777 0:0 nowhere/deep/link -> sub/two; f 0644 0:0 nowhere/deep/one 1; d 0755 0:0 nowhere/deep/sub; f 0644 0:0 nowhere/deep/sub/two 2; l 0777 0:0 to -> nowhere/deep',
    ),
  },
  {
    name: 'an inline file through a symlink',
    lines: 'COPY lnk /\nCOPY <<e /to\n1\ne',
    files: { 'lnk/to': '->/t' },
    differs: { buildah: THROUGH },
    want: tree('f 0644 0:0 t 2; l 0777 0:0 to -> /t'),
  },
  { name: 'a destination above the root', lines: 'COPY a.txt /../../x', want: tree('f 0644 0:0 x 1') },
  {
    name: 'a destination that ends with a dot',
    lines: 'COPY a.txt /x/.',
    differs: { buildah: DOT },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a.txt 1'),
  },
  { name: 'a dot as the destination', lines: 'COPY a.txt .', want: tree('f 0644 0:0 a.txt 1') },
  {
    name: 'an empty destination',
    lines: 'ARG e\nWORKDIR /w\nCOPY a.txt $e',
    want: tree('d 0755 0:0 w; f 0644 0:0 w/a.txt 1'),
  },
  { name: 'slashes in a row', lines: 'COPY a.txt //x//y', want: tree('d 0755 0:0 x; f 0644 0:0 x/y 1') },
  { name: 'dots in the destination', lines: 'COPY a.txt /x/../y/', want: tree('d 0755 0:0 y; f 0644 0:0 y/a.txt 1') },
  {
    name: 'an absolute symlink as a source',
    lines: 'COPY abs /x',
    files: { abs: '->/a.txt' },
    want: tree('f 0644 0:0 x 1'),
  },
  {
    name: 'an absolute symlink to a directory',
    lines: 'COPY abs /x/',
    files: { abs: '->/dir' },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'a symlink that tries to leave',
    lines: 'COPY up /x',
    files: { up: '->../../../a.txt' },
    want: tree('f 0644 0:0 x 1'),
  },
  {
    name: 'symlinks in a directory stay as they are',
    lines: 'COPY d2 /x',
    files: { 'd2/dangling': '->nope', 'd2/loop': '->loop', 'd2/abs': '->/etc/passwd', 'd2/up': '->../../..' },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/abs -> /etc/passwd; l 0777 0:0 x/dangling -> nope; l 0777 0:0 x/loop -> loop; l 0777 0:0 x/up -> ../../..',
    ),
  },
  { name: 'a slash behind a file', lines: 'COPY a.txt/ /x', want: tree('f 0644 0:0 x 1') },
  { name: 'a wildcard without a match', lines: 'COPY nomatch* /x/', differs: { buildah: NO_MATCH }, want: [] },
  { name: 'and beside a file', lines: 'COPY a.txt nomatch* /x/', want: tree('d 0755 0:0 x; f 0644 0:0 x/a.txt 1') },
  {
    name: 'a wildcard that matches symlinks',
    lines: 'COPY *link /x/',
    want: tree(
      'd 0755 0:0 x; f 0644 0:0 x/filelink 1; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'a wildcard below a directory',
    lines: 'COPY dir/* /x/',
    want: tree('d 0755 0:0 x; f 0644 0:0 x/link 2; f 0644 0:0 x/one 1; f 0644 0:0 x/two 2'),
  },
  {
    name: 'a wildcard as a name',
    lines: 'COPY a\\[1].txt /x/',
    files: { 'a[1].txt': '1', 'a1.txt': '2' },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a1.txt 1'),
  },
  {
    name: 'a class of one',
    lines: 'COPY a[[]1].txt /x/',
    files: { 'a[1].txt': '1', 'a1.txt': '2' },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a[1].txt 1'),
  },
  {
    name: 'a wildcard for directories, without a slash',
    lines: 'COPY d* /5',
    files: { 'd5/z': '1' },
    want: tree(
      'd 0755 0:0 5; l 0777 0:0 5/link -> sub/two; f 0644 0:0 5/one 1; d 0755 0:0 5/sub; f 0644 0:0 5/sub/two 2; f 0644 0:0 5/z 1',
    ),
  },
  {
    name: 'the last of two sources wins',
    lines: 'COPY one two /x/',
    files: { 'one/f': '1', 'two/f': '22', 'one/g/h': '1', 'two/g/i': '2' },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/f 2; d 0755 0:0 x/g; f 0644 0:0 x/g/h 1; f 0644 0:0 x/g/i 1'),
  },
  {
    name: 'a directory and a file without a slash',
    lines: 'COPY dir a.txt /x',
    want: tree(
      'd 0755 0:0 x; f 0644 0:0 x/a.txt 1; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'set-ID bits from a stage',
    lines: 'COPY --chmod=4755 a.txt /d/\nFROM scratch\nCOPY --from=0 /d/a.txt /\nCOPY --from=0 d/*.txt /w/',
    want: tree('f 4755 0:0 a.txt 1; d 0755 0:0 w; f 4755 0:0 w/a.txt 1'),
  },
  {
    name: 'modes of directories from a stage',
    lines: 'COPY --chmod=2751 dir /d/\nFROM scratch\nCOPY --from=0 /d /e/\nCOPY --from=0 / /f',
    differs: { docker: CREATED, buildah: CREATED },
    want: tree(
      'd 0755 0:0 e; l 0777 0:0 e/link -> sub/two; f 2751 0:0 e/one 1; d 2751 0:0 e/sub; f 2751 0:0 e/sub/two 2; d 0755 0:0 f; d 0751 0:0 f/d; l 0777 0:0 f/d/link -> sub/two; f 2751 0:0 f/d/one 1; d 2751 0:0 f/d/sub; f 2751 0:0 f/d/sub/two 2',
    ),
  },
  {
    name: 'symlinks from a stage',
    lines: 'COPY dir /x/\nFROM scratch\nCOPY --from=0 /x/link /l\nCOPY --from=0 /x /y',
    want: tree(
      'f 0644 0:0 l 2; d 0755 0:0 y; l 0777 0:0 y/link -> sub/two; f 0644 0:0 y/one 1; d 0755 0:0 y/sub; f 0644 0:0 y/sub/two 2',
    ),
  },
  {
    name: 'attributes of a directory that is there',
    lines: 'COPY --chown=3:4 --chmod=700 old /x\nCOPY new /x',
    files: { 'old/sub/f': '1', 'new/sub/g': '2' },
    differs: { docker: CREATED, buildah: CREATED },
    want: tree('d 0700 3:4 x; d 0755 0:0 x/sub; f 0700 3:4 x/sub/f 1; f 0644 0:0 x/sub/g 1'),
  },
];

/** --link, and places that are not what they seem. */
export const placeCases: (CopyCase & { group: string })[] = Object.entries({ link, place }).flatMap(([group, cases]) =>
  cases.map((item) => ({ ...item, group })),
);
