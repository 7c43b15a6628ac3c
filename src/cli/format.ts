import { formatTable } from './table.ts';
import { compileTemplate } from './template.ts';

/** One line of a list: the fields that `--format` can name. Getters keep dear ones unpaid where nobody asks. */
export type Row = Record<string, unknown>;

/** A list as Docker's formatter knows it. */
export interface ListFormat {
  /** Field → column header. A field without one is for templates and JSON only. */
  headers: Record<string, string>;
  /** The fields of the table that is printed without `--format`. */
  columns: readonly string[];
}

interface Output {
  write(text: string): unknown;
}

/**
 * Prints a list as Docker does: a table by default; `table {{.A}}\t{{.B}}` with headers; `json` one object a line;
 * any other template once a row. Throws `BAD_TEMPLATE`.
 */
export function printRows(out: Output, list: ListFormat, rows: readonly Row[], format?: string): void {
  if (format === undefined || format === '' || format === 'table') {
    const lines = rows.map((row) => list.columns.map((field) => String(row[field] ?? '')));
    out.write(formatTable([list.columns.map((field) => list.headers[field] ?? field.toUpperCase()), ...lines]));
    return;
  }
  if (format === 'json') {
    for (const row of rows) out.write(`${JSON.stringify(sortKeys(row))}\n`);
    return;
  }
  const source = expandEscapes(format);
  if (/^table\s/.test(source)) {
    const body = source.slice(6);
    const template = compileTemplate(body);
    const header = compileTemplate(body, { headers: true })(headerRow(list, rows));
    out.write(formatTable([header, ...rows.map(template)].map((line) => line.split('\t'))));
    return;
  }
  const template = compileTemplate(source);
  for (const row of rows) out.write(`${template(row)}\n`);
}

/** Prints one value (an inspect, a version) by a template or as JSON. Throws `BAD_TEMPLATE`. */
export function printValue(out: Output, value: unknown, format: string): void {
  out.write(`${format === 'json' ? JSON.stringify(value) : compileTemplate(expandEscapes(format))(value)}\n`);
}

/** Docker's rule: `\t` and `\n` typed in a shell's quotes mean the characters. */
function expandEscapes(format: string): string {
  return format.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
}

function headerRow(list: ListFormat, rows: readonly Row[]): Row {
  const header: Row = {};
  for (const field of Object.keys(rows[0] ?? {})) header[field] = field.toUpperCase();
  return Object.assign(header, list.headers);
}

function sortKeys(row: Row): Row {
  const out: Row = {};
  for (const key of Object.keys(row).sort()) out[key] = row[key];
  return out;
}
