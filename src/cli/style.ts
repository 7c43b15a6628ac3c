/** Where text goes, and whether a person reads it there. */
export interface Terminal {
  isTTY?: boolean;
}

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** Colours only on a terminal that has them, and never where NO_COLOR is set (https://no-color.org). */
function hasColors(stream: Terminal, env: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
}

export function createStyle(stream: Terminal, env: NodeJS.ProcessEnv = process.env): Style {
  const on = hasColors(stream, env);
  const paint =
    (open: number, close: number) =>
    (text: string): string =>
      on && text !== '' ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
    cyan: paint(36, 39),
  };
}
