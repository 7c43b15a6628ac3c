/** Combining and invisible characters: they take no column of their own. */
const ZERO = /^[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff\u200b]$/u;
/** Two columns: East Asian Wide and Fullwidth (Unicode UAX #11), in blocks, and what shows as a picture. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1b000}-\u{1b2ff}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]$/u;

function characterWidth(character: string): number {
  if (character <= '~') return 1;
  if (ZERO.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** Columns that a text without control characters takes on a terminal. */
export function displayWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** The beginning of a text that fits into so many columns. */
export function takeWidth(text: string, columns: number): string {
  if (text.length <= columns && /^[ -~]*$/.test(text)) return text;
  let width = 0;
  let out = '';
  for (const character of text) {
    width += characterWidth(character);
    if (width > columns) break;
    out += character;
  }
  return out;
}
