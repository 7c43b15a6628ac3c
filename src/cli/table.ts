/** Go's tabwriter as Docker sets it: columns at least 10 wide, 3 spaces between them, the last one not padded. */
const MIN_WIDTH = 10;
const PADDING = 3;

/**
 * Rows in columns, one line each, ending in a newline; the header is a row like the others. A column is as wide as
 * its widest cell (in code points) over all rows.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (let i = 0; i < row.length - 1; i++) {
      widths[i] = Math.max(widths[i] ?? MIN_WIDTH, cellWidth(row[i]!) + PADDING);
    }
  }
  let out = '';
  for (const row of rows) {
    row.forEach((cell, i) => {
      out += i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! - cellWidth(cell));
    });
    out += '\n';
  }
  return out;
}

/** Prints a header and rows as Docker lays them out. */
export function printTable(
  out: { write(text: string): unknown },
  headers: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  out.write(formatTable([headers, ...rows]));
}

function cellWidth(text: string): number {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return Array.from(text).length;
  }
  return text.length;
}
