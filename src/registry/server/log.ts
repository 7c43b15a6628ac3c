import { isImagoError } from '../../core/errors.ts';
import type { RequestEvent } from './options.ts';

export type LogLevel = 'info' | 'warn' | 'error';

type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface LogOptions {
  format: 'text' | 'json';
  /** Gets whole lines. */
  write: (text: string) => void;
}

/**
 * One line for each event, JSON or `TIME LEVEL MESSAGE key=value`. Lines are gathered for one turn of the loop, so that
 * many requests cost one write.
 */
export class Log {
  readonly #format: 'text' | 'json';
  readonly #write: (text: string) => void;
  #pending = '';

  constructor({ format, write }: LogOptions) {
    this.#format = format;
    this.#write = write;
  }

  info(message: string, fields: Fields = {}): void {
    this.#add('info', message, fields);
  }

  warn(message: string, fields: Fields = {}): void {
    this.#add('warn', message, fields);
  }

  /** `cause` is told by its code and message; the stack of what nobody expected as well. */
  error(message: string, cause: unknown, fields: Fields = {}): void {
    this.#add('error', message, { ...fields, ...describeCause(cause) });
  }

  request(event: RequestEvent): void {
    const level = event.status >= 500 ? 'error' : 'info';
    this.#add(level, 'request', {
      request: event.id,
      remote: event.remote,
      user: event.user,
      method: event.method,
      path: event.path,
      route: event.route,
      repository: event.repository,
      reference: event.reference,
      status: event.status,
      bytesIn: event.bytesIn,
      bytesOut: event.bytesOut,
      ms: Math.round(event.milliseconds * 10) / 10,
      agent: event.userAgent === '' ? undefined : event.userAgent.slice(0, 200),
      aborted: event.aborted || undefined,
      code: event.error?.code,
      problem: event.error?.message,
      ...(event.cause === undefined ? {} : describeCause(event.cause)),
    });
  }

  /** Writes what is gathered. */
  flush(): void {
    const text = this.#pending;
    this.#pending = '';
    if (text !== '') this.#write(text);
  }

  #add(level: LogLevel, message: string, fields: Fields): void {
    if (this.#pending === '') setImmediate(() => this.flush());
    const time = new Date().toISOString();
    this.#pending +=
      this.#format === 'json'
        ? `${JSON.stringify({ time, level, msg: message, ...fields })}\n`
        : `${time} ${level} ${message}${formatFields(fields)}\n`;
  }
}

function formatFields(fields: Fields): string {
  let text = '';
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const plain = String(value);
    text += ` ${key}=${/^[\w./:@+-]+$/.test(plain) ? plain : JSON.stringify(plain)}`;
  }
  return text;
}

function describeCause(cause: unknown): Fields {
  if (isImagoError(cause)) return { cause: cause.message, causeCode: cause.code };
  if (!(cause instanceof Error)) return { cause: String(cause) };
  return { cause: cause.message, stack: cause.stack };
}
