// Becomes dist/cli.cjs, the first thing that Node runs: one small file, so that `--version` and the check of Node's
// own version load nothing else. No imports, and no syntax that a Node from 2018 would not parse.
import type * as fs from 'node:fs';
import type * as module from 'node:module';

declare const IMAGO_VERSION: string;
declare const require: (name: string) => unknown;

const oldest = '24.5';
const words = process.argv.slice(2);

if (Number.parseFloat(process.versions.node) < 24 || /^24\.[0-4]\./.test(process.versions.node)) {
  process.stderr.write(
    `imago: needs Node ${oldest} or newer, and ${process.execPath} is ${process.version}: install a newer one, or name one in IMAGO_NODE\n`,
  );
  process.exitCode = 1;
} else if (words.length === 1 && (words[0] === '--version' || words[0] === '-v')) {
  (require('node:fs') as typeof fs).writeSync(1, `imago version ${IMAGO_VERSION}\n`);
} else {
  start();
}

function start(): void {
  const cache = cacheDirectory();
  if (cache !== undefined) {
    // Fails quietly where the directory can't be written: the cache only saves time.
    (require('node:module') as typeof module).enableCompileCache(cache);
    // Worker threads, and what conmon calls when a container ends, take it from here.
    process.env.NODE_COMPILE_CACHE = cache;
  }
  // The bundler leaves this import alone: main.js is an entry of its own, beside this file in dist/.
  import('./main.js').then((main: { start(words: string[]): Promise<void> }) => main.start(words));
}

/** On disk, and writable by this user alone: what is in it is run. */
function cacheDirectory(): string | undefined {
  const env = process.env;
  if (env.NODE_COMPILE_CACHE) return env.NODE_COMPILE_CACHE;
  if (process.getuid !== undefined && process.getuid() === 0) return '/var/cache/imago/compiled';
  if (env.XDG_CACHE_HOME) return `${env.XDG_CACHE_HOME}/imago/compiled`;
  return env.HOME ? `${env.HOME}/.cache/imago/compiled` : undefined;
}
