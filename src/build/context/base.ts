import type { CopyInstruction } from '../../formats/dockerfile/instruction.ts';

/** All of a context, as FROM takes it. */
export const COPY_ALL: Omit<CopyInstruction, 'line' | 'endLine' | 'source'> = {
  name: 'COPY',
  sources: ['/'],
  inline: [],
  dest: '/',
  link: false,
  parents: false,
  exclude: [],
};
