import { tagByName } from '../../image/tag-by-name.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'tag',
  summary: 'Give an image one more name',
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  options: {},
  args: { min: 2, max: 2 },
  complete: 'image',
  run({ args, openStore }) {
    tagByName(openStore(), args[0]!, args[1]!);
    return 0;
  },
};
