import type { WireError, WireErrorKind } from '../wire/errors.ts';

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
