/** What an error carries beside its code; a message is made of it. Every field is optional. */
export interface ErrorDetails {
  /** The operation that failed, as a user would name it: 'pull', 'mount', 'read tar'. */
  op?: string;
  /** The image, container or blob that it was about. */
  ref?: string;
  path?: string;
  /** Byte offset in the input. */
  offset?: number;
  want?: string | number;
  got?: string | number;
  /** What the user can do: a command line or one sentence without a full stop. */
  remedy?: string;
  /** Process exit status that a command should end with (default 1). */
  exitCode?: number;
  cause?: unknown;
}

/**
 * The one error class of Imago. Match on `code`, which is stable; the message is for people:
 * `summary: wanted W, got G (path P, offset N): remedy`.
 */
export class ImagoError extends Error {
  override readonly name: string = 'ImagoError';
  readonly code: string;
  readonly details: ErrorDetails;

  constructor(code: string, summary: string, details: ErrorDetails = {}) {
    super(composeMessage(summary, details), { cause: details.cause });
    this.code = code;
    this.details = details;
  }
}

export function isImagoError(error: unknown, code?: string): error is ImagoError {
  return error instanceof ImagoError && (code === undefined || error.code === code);
}

/** A path of one word ('a') may stand in the text by chance. */
function mentions(summary: string, path: string): boolean {
  return path === '' || summary.includes(`'${path}'`) || (path.includes('/') && summary.includes(path));
}

function composeMessage(summary: string, d: ErrorDetails): string {
  let text = summary;
  if (d.want !== undefined && d.got !== undefined) text += `: wanted ${d.want}, got ${d.got}`;
  else if (d.want !== undefined) text += `: wanted ${d.want}`;
  else if (d.got !== undefined) text += `: got ${d.got}`;
  const where: string[] = [];
  if (d.path !== undefined && !mentions(summary, d.path)) where.push(d.path);
  if (d.offset !== undefined) where.push(`offset ${d.offset}`);
  if (where.length > 0) text += ` (${where.join(', ')})`;
  if (d.remedy !== undefined) text += `: ${d.remedy}`;
  return text;
}
