/**
 * Bundles src/ into dist/: `node scripts/build.ts [--if-stale] [--types] [--clean]`.
 *
 * dist/ is flat, so that a chunk finds workers and other chunks beside itself (src/system/worker-url.ts):
 * cli.cjs (src/cli/start.ts), main.js and one chunk a command, index.js (the library), one file for each
 * *-worker.ts, shared chunks named by their content, THIRD-PARTY.txt, types/ with --types, and .stamp.
 *
 * Safe at any moment: a file is renamed into place, chunks before the entries that name them, and chunks of earlier
 * builds stay for an hour (but with --clean), since a command that runs from them may still load one. Builds at once
 * wait for each other.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, join, relative } from 'node:path';
import { build, type Plugin } from 'rolldown';
import { lockSync } from '../src/system/files.ts';
import { reachable, readImports } from './imports.ts';
import { listThirdParty } from './third-party.ts';

const ROOT: string = join(import.meta.dirname, '..');
const DIST: string = join(ROOT, 'dist');
const STAMP: string = join(DIST, '.stamp');
const KEEP_OLD_CHUNKS_MS: number = process.argv.includes('--clean') ? -1 : 3_600_000;
/**
 * What these load goes into one chunk: a file costs a command about 0.4 ms to load, and code that is not called next
 * to nothing.
 */
const QUICK = ['main', 'commands/run', 'commands/ps', 'commands/images', 'commands/exec', 'commands/rm'];

const flags: ReadonlySet<string> = new Set(process.argv.slice(2));
mkdirSync(DIST, { recursive: true });
const lock: number = openSync(join(DIST, '.lock'), 'w');
lockSync(lock, 'exclusive');
try {
  if (!flags.has('--if-stale') || isStale()) await buildAll();
  if (flags.has('--types')) buildTypes();
} catch (error) {
  // Rolldown's own message has the file and the line.
  process.stderr.write(`build: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  closeSync(lock);
}

/** The same question as in bin/imago. */
function isStale(): boolean {
  if (!existsSync(STAMP)) return true;
  const built = statSync(STAMP).mtimeMs;
  const sources = ['package.json', 'scripts/build.ts', 'src', ...globSync('src/**', { cwd: ROOT })];
  return sources.some((path) => statSync(join(ROOT, path)).mtimeMs > built);
}

async function buildAll(): Promise<void> {
  // A source changed while the build runs must look newer than the stamp.
  const started = new Date();
  const temporary = mkdtempSync(join(DIST, '.build-'));
  try {
    await bundle(temporary);
    install(temporary);
    writeFileSync(`${temporary}/.stamp`, '');
    utimesSync(`${temporary}/.stamp`, started, started);
    renameSync(`${temporary}/.stamp`, STAMP);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function bundle(dir: string): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const shared = {
    cwd: ROOT,
    platform: 'node' as const,
    // In bin/imago's way nobody asked for a build.
    logLevel: flags.has('--if-stale') ? ('silent' as const) : ('warn' as const),
    transform: { define: { IMAGO_VERSION: JSON.stringify(version) }, target: 'node24' },
  };
  const input: Record<string, string> = { main: 'src/cli/main.ts' };
  if (existsSync(join(ROOT, 'src/index.ts'))) input.index = 'src/index.ts';
  for (const worker of globSync('src/**/*-worker.ts', { cwd: ROOT })) {
    const name = basename(worker, '.ts');
    if (name in input) throw new Error(`two workers are called ${name}: ${input[name]} and ${worker}`);
    input[name] = worker;
  }
  await build({
    ...shared,
    input,
    plugins: [bindBuiltins(), escapeText(), listThirdParty()],
    treeshake: { propertyReadSideEffects: false },
    output: {
      dir,
      format: 'esm',
      entryFileNames: '[name].js',
      chunkFileNames: '[name]-[hash].js',
      comments: false,
      codeSplitting: { groups: [{ name: 'quick', test: isQuick() }] },
    },
  });
  await build({
    ...shared,
    input: { cli: 'src/cli/start.ts' },
    external: ['./main.js'],
    output: { dir, format: 'cjs', entryFileNames: '[name].cjs' },
  });
}

/**
 * Writes what is not ASCII as escapes: one such character makes V8 hold the whole chunk in two bytes a character.
 * Without comments they stand in strings, templates and regular expressions only, where \uXXXX means the same.
 */
function escapeText(): Plugin {
  const encode = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return { name: 'escape-text', renderChunk: (code) => code.replace(/[^\x00-\x7f]/g, encode) };
}

/**
 * Takes Node's modules with getBuiltinModule where the source has an import: an ES import of node:fs makes Node load
 * all that its lazy properties would (fs.promises, streams, readline), which costs a command 5 ms.
 */
function bindBuiltins(): Plugin {
  const prefix = '\0builtin:';
  return {
    name: 'bind-builtins',
    // Ours only: what a CommonJS package requires, the bundler wraps, and its helpers run before everything else.
    resolveId: (source, importer, { kind }) =>
      kind === 'import-statement' && isBuiltin(source) && importer?.startsWith(join(ROOT, 'src/')) === true
        ? { id: prefix + source, moduleSideEffects: false }
        : null,
    load(id) {
      if (!id.startsWith(prefix)) return null;
      const name = id.slice(prefix.length);
      const names = Object.keys(process.getBuiltinModule(name) as object).filter((key) => /^[A-Za-z_]\w*$/.test(key));
      return [
        `const builtin = process.getBuiltinModule('${name}');`,
        'export default builtin;',
        ...names.filter((key) => key !== 'default').map((key) => `export const ${key} = builtin.${key};`),
      ].join('\n');
    },
  };
}

/** Whether a module is loaded by the QUICK commands, themselves left out. */
function isQuick(): (id: string) => boolean {
  const graph = readImports();
  const files = new Set(QUICK.flatMap((name) => [...reachable(graph, `cli/${name}.ts`).keys()]));
  for (const name of QUICK) files.delete(`cli/${name}.ts`);
  return (id) => files.has(relative(join(ROOT, 'src'), id));
}

/** Moves the files of a finished build into dist/, and drops what older builds left and nobody can still need. */
function install(from: string): void {
  const isChunk = (name: string) => /-[\w-]{8}\.js$/.test(name);
  const names = readdirSync(from).sort((a, b) => Number(isChunk(b)) - Number(isChunk(a)));
  for (const name of names) renameSync(join(from, name), join(DIST, name));
  const current = new Set([...names, '.stamp', '.lock', 'types', basename(from)]);
  for (const name of readdirSync(DIST)) {
    const path = join(DIST, name);
    if (!current.has(name) && statSync(path).mtimeMs < Date.now() - KEEP_OLD_CHUNKS_MS) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

function buildTypes(): void {
  const out = mkdtempSync(join(DIST, '.types-'));
  const { status } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', out], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  if (status !== 0) {
    rmSync(out, { recursive: true, force: true });
    throw new Error('the declarations were not built');
  }
  rmSync(join(DIST, 'types'), { recursive: true, force: true });
  renameSync(out, join(DIST, 'types'));
}
