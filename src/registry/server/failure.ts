import { isImagoError } from '../../core/errors.ts';
import { WIRE_ERRORS, type WireError, type WireErrorKind } from '../wire/errors.ts';

/** What a client did wrong, or cannot have: thrown anywhere below the handler, which answers it. */
export class WireFailure extends Error {
  override readonly name: string = 'WireFailure';
  readonly status: number;
  readonly errors: readonly WireError[];
  readonly headers: Readonly<Record<string, string | string[]>>;

  constructor(
    kind: WireErrorKind,
    message: string,
    more: { status?: number; detail?: unknown; headers?: Record<string, string | string[]>; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.status = more.status ?? kind.status;
    const error: WireError = { code: kind.code, message };
    this.errors = [more.detail === undefined ? error : { ...error, detail: more.detail }];
    this.headers = more.headers ?? {};
  }
}

/** Storage errors that pass by themselves or when somebody sees to it: clients come again after a while. */
const PASSING: ReadonlySet<string> = new Set(['STORAGE_BUSY', 'STORAGE_UNAVAILABLE', 'STORAGE_CONFLICT']);

/** Any error as an answer. What our side failed with stays here: its message may name paths and hosts. */
export function describeFailure(error: unknown): WireFailure {
  if (error instanceof WireFailure) return error;
  if (isImagoError(error, 'STORAGE_BAD_KEY')) return new WireFailure(WIRE_ERRORS.nameInvalid, 'the name is too long');
  if (isImagoError(error, 'STORAGE_FULL')) {
    return new WireFailure(WIRE_ERRORS.unavailable, "the registry's storage is full", { status: 507, cause: error });
  }
  if (isImagoError(error) && PASSING.has(error.code)) {
    const headers = { 'Retry-After': '5' };
    return new WireFailure(WIRE_ERRORS.unavailable, "the registry's storage is not available now", {
      headers,
      cause: error,
    });
  }
  return new WireFailure(WIRE_ERRORS.unknown, 'the registry failed: its log says more', { cause: error });
}
