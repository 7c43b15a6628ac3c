import { readFileSync } from 'node:fs';

/** Put in by the bundler from package.json. */
declare const IMAGO_VERSION: string | undefined;

/** The version of this package; in dist/ the one that it was built as. */
export function imagoVersion(): string {
  if (typeof IMAGO_VERSION === 'string') return IMAGO_VERSION;
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version;
}
