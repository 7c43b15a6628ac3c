/** Fetches the packages that Dockerfiles are in, and lays out what is built. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RealBuild } from './peer.ts';
import type { Apt } from './public-apt.ts';
import type { PublicDockerfile, PublicPackage } from './public-case.ts';
import { packTraces } from './public-roots.ts';
import { mustRun, run } from './public-run.ts';

/** A Dockerfile ready to be built, or why it can't be. */
export type Prepared = RealBuild | string;

/** By the Dockerfiles' names. `home` is a directory that is made. */
export async function prepareBuilds(apt: Apt, packages: PublicPackage[], home: string): Promise<Map<string, Prepared>> {
  const [archives, sources, files] = ['archives', 'sources', 'dockerfiles'].map((name) => join(home, name));
  for (const directory of [archives, sources, files]) mkdirSync(directory!, { recursive: true });
  const names = (kind: PublicPackage['kind'], end: (item: PublicPackage) => string): string[] => [
    ...new Set(packages.filter((item) => item.kind === kind).map((item) => item.package + end(item))),
  ];
  await Promise.all([
    apt.source(
      names('deb', () => ''),
      archives!,
    ),
    run(['npm', 'pack', '--silent', ...names('npm', ({ version }) => `@${version}`)], { cwd: archives }),
  ]);
  const prepared = new Map<string, Prepared>();
  for (const item of packages) {
    const source = join(sources!, item.package);
    const missing = existsSync(source) ? false : !(await unpack(item, archives!, source));
    for (const dockerfile of item.dockerfiles) {
      const why = `${item.package} ${item.version} can't be had`;
      prepared.set(dockerfile.name, missing ? why : prepare(dockerfile, source, join(files!, dockerfile.name)));
    }
  }
  return prepared;
}

/** All archives of a package side by side, each without its outermost directory. False where there is none. */
async function unpack({ kind, package: name, version }: PublicPackage, archives: string, to: string): Promise<boolean> {
  const packed = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
  const files = readdirSync(archives).filter((file) =>
    kind === 'npm' ? file === packed : file.startsWith(`${name}_`),
  );
  if (files.length === 0) return false;
  mkdirSync(to, { recursive: true });
  for (const file of files) await mustRun(['tar', '-xf', join(archives, file), '--strip-components=1', '-C', to]);
  return true;
}

function prepare(dockerfile: PublicDockerfile, source: string, file: string): Prepared {
  const { name, path, sha256, adapted = [], made = {}, target, args, volatile, fetches } = dockerfile;
  const original = join(source, path);
  if (!existsSync(original)) return `the package has no ${path} any more`;
  const bytes = readFileSync(original);
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (digest !== sha256) return `${path} is another one now: its SHA-256 is ${digest}`;
  const context = join(source, dockerfile.context ?? dirname(path));
  for (const [place, text] of Object.entries(made)) {
    mkdirSync(dirname(join(context, place)), { recursive: true });
    if (text === 'traced.tgz') packTraces(join(context, place));
    else writeFileSync(join(context, place), text);
  }
  // It names an image to be fetched: the builder's own front end.
  let text = bytes.toString().replace(/^# *syntax *=.*\n/i, '');
  for (const [from, to] of adapted) {
    if (!text.includes(from)) throw new Error(`${name} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  writeFileSync(file, text);
  return { name, file, context, target, args, volatile, network: fetches === true ? 'host' : 'none' };
}
