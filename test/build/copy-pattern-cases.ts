import { type CopyCase, tree } from './copy-cases.ts';

const TREE = { 'p/q/r/s': '1', 'p/q/r/t.log': '22', 'p/q2/r/u': '333', 'p/v': '4444', 'p/lnk': '->q/r' };

/** Why an engine does otherwise. */
const FLAG = 'the flag is younger';
const EXCLUDE = 'patterns are relative to the context, or to the parent of the source';

const parents: CopyCase[] = [
  {
    name: 'a path',
    lines: 'COPY --parents p/q/r/s /',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 p; d 0755 0:0 p/q; d 0755 0:0 p/q/r; f 0644 0:0 p/q/r/s 1'),
  },
  {
    name: 'a wildcard, relative to WORKDIR',
    lines: 'WORKDIR /w\nCOPY --parents p/q/r/* .',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 w; d 0755 0:0 w/p; d 0755 0:0 w/p/q; d 0755 0:0 w/p/q/r; f 0644 0:0 w/p/q/r/s 1; f 0644 0:0 w/p/q/r/t.log 2',
    ),
  },
  {
    name: 'from a pivot on',
    lines: 'COPY --parents p/./q/r /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/q; d 0755 0:0 out/q/r; f 0644 0:0 out/q/r/s 1; f 0644 0:0 out/q/r/t.log 2',
    ),
  },
  {
    name: 'a dot at the end is no pivot',
    lines: 'COPY --parents p/q/r/. /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/p; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1; f 0644 0:0 out/p/q/r/t.log 2',
    ),
  },
  {
    name: 'nor is one at the beginning',
    lines: 'COPY --parents ./p/q/r /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/p; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1; f 0644 0:0 out/p/q/r/t.log 2',
    ),
  },
  {
    name: 'the first pivot counts',
    lines: 'COPY --parents p/./q/./r /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/q; d 0755 0:0 out/q/r; f 0644 0:0 out/q/r/s 1; f 0644 0:0 out/q/r/t.log 2',
    ),
  },
  {
    name: 'a wildcard behind the pivot',
    lines: 'COPY --parents p/./*/r /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/q; d 0755 0:0 out/q/r; f 0644 0:0 out/q/r/s 1; f 0644 0:0 out/q/r/t.log 2; d 0755 0:0 out/q2; d 0755 0:0 out/q2/r; f 0644 0:0 out/q2/r/u 3',
    ),
  },
  {
    name: 'wildcards on both sides',
    lines: 'COPY --parents p/q*/./r/** /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/r; f 0644 0:0 out/r/s 1; f 0644 0:0 out/r/t.log 2; f 0644 0:0 out/r/u 3',
    ),
  },
  {
    name: 'any depth',
    lines: 'COPY --parents **/r/s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; d 0755 0:0 out/p; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1'),
  },
  {
    name: 'several',
    lines: 'COPY --parents a.txt p/v /out',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; f 0644 0:0 out/a.txt 1; d 0755 0:0 out/p; f 0644 0:0 out/p/v 4'),
  },
  {
    name: 'no match',
    lines: 'COPY --parents nomatch* /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out'),
  },
  {
    name: 'no match before the pivot',
    lines: 'COPY --parents p/nomatch*/./x /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: [],
  },
  {
    name: 'not through a symlink',
    lines: 'COPY --parents p/lnk/s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out'),
  },
  {
    name: 'a symlink itself',
    lines: 'COPY --parents p/lnk /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; d 0755 0:0 out/p; l 0777 0:0 out/p/lnk -> q/r'),
  },
  {
    name: 'a symlink before the pivot',
    lines: 'COPY --parents p/lnk/./s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; f 0644 0:0 out/s 1'),
  },
  {
    name: '--chown',
    lines: 'COPY --parents --chown=7:8 p/q/r/s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 7:8 out; d 0755 7:8 out/p; d 0755 7:8 out/p/q; d 0755 7:8 out/p/q/r; f 0644 7:8 out/p/q/r/s 1'),
  },
  {
    name: '--chmod',
    lines: 'COPY --parents --chmod=700 p/q/r/s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0700 0:0 out; d 0700 0:0 out/p; d 0700 0:0 out/p/q; d 0700 0:0 out/p/q/r; f 0700 0:0 out/p/q/r/s 1'),
  },
  {
    name: 'directories that are there get their modes only',
    lines: 'COPY --chmod=711 --chown=3:4 p/v /out/p/q/\nCOPY --parents p/q/r/s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0711 3:4 out; d 0755 3:4 out/p; d 0755 3:4 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1; f 0711 3:4 out/p/q/v 4',
    ),
  },
  {
    name: 'everything',
    lines: 'COPY --parents . /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; f 0644 0:0 out/a.txt 1; f 0644 0:0 out/b.txt 2; f 0644 0:0 out/c.log 3; d 0755 0:0 out/dir; l 0777 0:0 out/dir/link -> sub/two; f 0644 0:0 out/dir/one 1; d 0755 0:0 out/dir/sub; f 0644 0:0 out/dir/sub/two 2; l 0777 0:0 out/dirlink -> dir; d 0755 0:0 out/empty; l 0777 0:0 out/filelink -> a.txt; d 0755 0:0 out/p; l 0777 0:0 out/p/lnk -> q/r; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1; f 0644 0:0 out/p/q/r/t.log 2; d 0755 0:0 out/p/q2; d 0755 0:0 out/p/q2/r; f 0644 0:0 out/p/q2/r/u 3; f 0644 0:0 out/p/v 4; f 0644 0:0 out/with space 1',
    ),
  },
  {
    name: 'the destination is a directory',
    lines: 'COPY --parents p/q/r/s /out/x',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/x; d 0755 0:0 out/x/p; d 0755 0:0 out/x/p/q; d 0755 0:0 out/x/p/q/r; f 0644 0:0 out/x/p/q/r/s 1',
    ),
  },
  {
    name: 'with --exclude',
    lines: 'COPY --parents --exclude=**/*.log p/q /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; d 0755 0:0 out/p; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1'),
  },
  {
    name: 'with --link',
    lines: 'COPY --parents --link p/q/r/s /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; d 0755 0:0 out/p; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1'),
  },
  {
    name: 'slashes around',
    lines: 'COPY --parents /p/q/ /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree(
      'd 0755 0:0 out; d 0755 0:0 out/p; d 0755 0:0 out/p/q; d 0755 0:0 out/p/q/r; f 0644 0:0 out/p/q/r/s 1; f 0644 0:0 out/p/q/r/t.log 2',
    ),
  },
  {
    name: 'a file before the pivot',
    lines: 'COPY --parents p/v/./x* /out/',
    files: TREE,
    differs: { docker: FLAG, buildah: FLAG },
    want: tree('d 0755 0:0 out; f 0644 0:0 out/v 4'),
  },
];

const exclude: CopyCase[] = [
  {
    name: 'at any depth',
    lines: 'COPY --exclude=**/*.log p /x',
    files: TREE,
    differs: { docker: FLAG },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q; d 0755 0:0 x/q/r; f 0644 0:0 x/q/r/s 1; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'relative to the source',
    lines: 'COPY --exclude=*.log p/q/r /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/s 1'),
  },
  {
    name: 'a directory',
    lines: 'COPY --exclude=q p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'taken back',
    lines: 'COPY --exclude=q* --exclude=!q2 p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'taken back below',
    lines: 'COPY --exclude=q --exclude=!q/r/s p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q; d 0755 0:0 x/q/r; f 0644 0:0 x/q/r/s 1; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'not the source itself',
    lines: 'COPY --exclude=a.txt a.txt /x/',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a.txt 1'),
  },
  {
    name: 'nor what a wildcard matches',
    lines: 'COPY --exclude=a.txt *.txt /x/',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree('d 0755 0:0 x; f 0644 0:0 x/a.txt 1; f 0644 0:0 x/b.txt 2'),
  },
  {
    name: 'everything',
    lines: 'COPY --exclude=* p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree('d 0755 0:0 x'),
  },
  {
    name: 'by the second name',
    lines: 'COPY --exclude=*/*.log p/q /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree('d 0755 0:0 x; d 0755 0:0 x/r; f 0644 0:0 x/r/s 1'),
  },
  {
    name: 'attributes of a directory that is there',
    lines: 'COPY --chmod=711 --chown=3:4 p/v /x/q/\nCOPY --exclude=q --exclude=!q/r/s p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0711 3:4 x; l 0777 0:0 x/lnk -> q/r; d 0755 3:4 x/q; d 0755 0:0 x/q/r; f 0644 0:0 x/q/r/s 1; f 0711 3:4 x/q/v 4; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'of ADD',
    lines: 'ADD --exclude=*.txt dir a.txt /x/',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; f 0644 0:0 x/a.txt 1; l 0777 0:0 x/link -> sub/two; f 0644 0:0 x/one 1; d 0755 0:0 x/sub; f 0644 0:0 x/sub/two 2',
    ),
  },
  {
    name: 'a leading slash',
    lines: 'COPY --exclude=/q p /x',
    files: TREE,
    differs: { docker: FLAG },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q; d 0755 0:0 x/q/r; f 0644 0:0 x/q/r/s 1; f 0644 0:0 x/q/r/t.log 2; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'a leading dot',
    lines: 'COPY --exclude=./q p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
  {
    name: 'from a stage',
    lines: 'COPY p /p\nFROM scratch\nCOPY --from=0 --exclude=p/q / /x',
    files: TREE,
    differs: { docker: FLAG },
    want: tree(
      'd 0755 0:0 x; d 0755 0:0 x/p; l 0777 0:0 x/p/lnk -> q/r; d 0755 0:0 x/p/q2; d 0755 0:0 x/p/q2/r; f 0644 0:0 x/p/q2/r/u 3; f 0644 0:0 x/p/v 4',
    ),
  },
  {
    name: 'by a variable',
    lines: 'ARG e=q\nCOPY --exclude=$e p /x',
    files: TREE,
    differs: { docker: FLAG, buildah: EXCLUDE },
    want: tree(
      'd 0755 0:0 x; l 0777 0:0 x/lnk -> q/r; d 0755 0:0 x/q2; d 0755 0:0 x/q2/r; f 0644 0:0 x/q2/r/u 3; f 0644 0:0 x/v 4',
    ),
  },
];

/** COPY --parents and --exclude. */
export const patternCases: (CopyCase & { group: string })[] = Object.entries({ parents, exclude }).flatMap(
  ([group, cases]) => cases.map((item) => ({ ...item, group })),
);
