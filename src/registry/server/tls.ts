import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { ImagoError } from '../../core/errors.ts';
import type { TlsSettings } from './config.ts';
import { WatchedFile } from './watched-file.ts';

const LOOK_MS = 2000;

interface TlsServer {
  setSecureContext(options: SecureContextOptions): void;
}

/** The certificate, its key and the clients' CA, as files that may be replaced while the server runs. */
export class TlsFiles {
  readonly #settings: TlsSettings;
  readonly #files: { cert: WatchedFile<string>; key: WatchedFile<string>; ca: WatchedFile<string> | undefined };
  #used: SecureContextOptions;

  /** Throws `BAD_TLS_FILES` where they do not fit together. */
  constructor(settings: TlsSettings, onProblem: (error: Error) => void) {
    this.#settings = settings;
    const open = (path: string): WatchedFile<string> => new WatchedFile(path, (text) => text, { onProblem });
    this.#files = {
      cert: open(settings.cert),
      key: open(settings.key),
      ca: settings.clientCa === undefined ? undefined : open(settings.clientCa),
    };
    this.#used = this.#read();
    this.#check(this.#used);
  }

  get options(): SecureContextOptions & { requestCert: boolean; rejectUnauthorized: boolean } {
    const mutual = this.#files.ca !== undefined;
    return { ...this.#used, requestCert: mutual, rejectUnauthorized: mutual };
  }

  /** Looks at the files every few seconds; what does not fit together (one of two was replaced) is not used yet. */
  watch(server: TlsServer, onReload: () => void, onProblem: (error: Error) => void): Disposable {
    let told = '';
    const look = (): void => {
      const next = this.#read();
      if (next.cert === this.#used.cert && next.key === this.#used.key && next.ca === this.#used.ca) return;
      try {
        this.#check(next);
        server.setSecureContext(next);
        this.#used = next;
        told = '';
        onReload();
      } catch (error) {
        if ((error as Error).message !== told) onProblem(error as Error);
        told = (error as Error).message;
      }
    };
    const timer = setInterval(look, LOOK_MS).unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  #read(): SecureContextOptions {
    const { cert, key, ca } = this.#files;
    const options = { cert: cert.read(), key: key.read(), minVersion: this.#settings.minVersion };
    return ca === undefined ? options : { ...options, ca: ca.read() };
  }

  #check(options: SecureContextOptions): void {
    try {
      createSecureContext(options);
    } catch (error) {
      const { cert, key } = this.#settings;
      throw new ImagoError('BAD_TLS_FILES', `${cert} and ${key} are no certificate with its key`, {
        cause: error,
        remedy: `give PEM files that belong together (${(error as Error).message})`,
      });
    }
  }
}
