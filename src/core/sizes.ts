const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** Bytes as Docker prints them: decimal units, three significant digits ("1.02GB", "77.9MB", "0B"). */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  // Three significant digits, no trailing zeros: go-units HumanSize ("%.3g").
  const text = value >= 999.5 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
  return `${text}${UNITS[unit]}`;
}
