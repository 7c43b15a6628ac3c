import type { IncomingHttpHeaders } from 'node:http';

export type Action = 'pull' | 'push' | 'delete' | 'catalog';

/** What a request wants. Without a repository, `pull` is the API's root (`/v2/`), which tells clients how to log in. */
export interface Access {
  repository?: string;
  action: Action;
}

/** The parts of a request that say who is asking; an `IncomingMessage` is one. */
export interface AuthorizeRequest {
  method?: string;
  url?: string;
  headers: IncomingHttpHeaders;
}

export interface Allowed {
  ok: true;
  /** Undefined for anonymous. */
  user?: string;
}

export interface Refused {
  ok: false;
  /** 401 with challenges: log in (again). 403: logged in, but not allowed. 429: too many passwords are being checked. */
  status: 401 | 403 | 429;
  /** Values of `WWW-Authenticate`, one header each. */
  challenges: string[];
  /** Who is refused, where that is known: for the log. */
  user?: string;
  /** For the body of the answer. */
  message: string;
  /** Seconds, for `Retry-After` with 429. */
  retryAfter?: number;
}

export type Decision = Allowed | Refused;

/** Decides on one access of one request. Never throws for what a client sent. A mount asks twice: push and pull of the source. */
export type Authorize = (request: AuthorizeRequest, access: Access) => Promise<Decision>;
