import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Access } from './authorize.ts';
import type { PullThrough } from './options.ts';
import type { Registry } from './registry.ts';

/** One request and its answer, on its way through an end point. */
export interface Exchange {
  readonly registry: Registry;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly proxy: PullThrough | undefined;
  /** A mount without `from` may look everywhere, without asking about each repository. */
  readonly automaticMounts: 'off' | 'open' | 'asked';
  /** Whether the client may do something else as well: pull from the source of a mount. */
  may(access: Access): Promise<boolean>;
  /** Bytes of bodies so far. */
  bytesIn: number;
  bytesOut: number;
}
