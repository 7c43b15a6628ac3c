/** A store, a build context and a base image in a temporary directory. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ImageFiles } from '../../src/build/context/image-source.ts';
import { findSource, readSource } from '../../src/build/context/source.ts';
import type { BuildEvent } from '../../src/build/events.ts';
import type { Digest } from '../../src/core/digest.ts';
import { type BuildResult, buildImage } from '../../src/engine/build.ts';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { importImage } from '../../src/engine/import.ts';
import type { Image } from '../../src/image/image.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { dropPin } from '../../src/snapshot/pin.ts';
import { Store } from '../../src/store/store.ts';
import { walkTree } from '../../src/tree/walk.ts';

/** Text of a file, or a link's target after '->'; a path that ends with a slash is a directory. */
export type Files = Record<string, string>;

export interface BuildRun extends BuildResult {
  image: Image;
  events: BuildEvent[];
  /** Steps that came from the cache, and that did not, by name without number. */
  cached: string[];
  done: string[];
  output: string;
}

export class BuildLab implements Disposable {
  readonly directory: string;
  readonly store: Store;
  readonly context: string;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'imago-build-'));
    this.store = Store.open({ root: join(this.directory, 'root'), run: join(this.directory, 'run') });
    this.context = join(this.directory, 'context');
    mkdirSync(this.context);
  }

  [Symbol.dispose](): void {
    if (existsSync(join(this.store.run, 'mnt'))) dropPin(this.store.run);
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Writes files below the context. */
  write(files: Files, directory: string = this.context): void {
    for (const [path, text] of Object.entries(files)) {
      const target = join(directory, path);
      if (path.endsWith('/')) {
        mkdirSync(target, { recursive: true });
        continue;
      }
      mkdirSync(dirname(target), { recursive: true });
      rmSync(target, { force: true });
      if (text.startsWith('->')) symlinkSync(text.slice(2), target);
      else writeFileSync(target, text);
    }
  }

  async build(dockerfile: string, options: BuildOptions = {}): Promise<BuildRun> {
    const events: BuildEvent[] = [];
    const result = await buildImage(this.store, {
      // Names here lead to no registry.
      pull: 'never',
      context: this.context,
      file: { name: 'Dockerfile', text: dockerfile },
      onEvent: (event) => events.push(event),
      ...options,
    });
    const steps = new Map<number, string>();
    const run: BuildRun = {
      ...result,
      image: resolveImage(this.store, result.id),
      events,
      cached: [],
      done: [],
      output: '',
    };
    for (const event of events) {
      if (event.type === 'start') steps.set(event.step, event.name.replace(/^\[[^\]]*\] /, ''));
      else if (event.type === 'done') (event.cached ? run.cached : run.done).push(steps.get(event.step)!);
      else if (event.type === 'output') run.output += Buffer.from(event.data).toString();
    }
    return run;
  }

  /** The image's tree, one line a name: type, mode, owner, path, target or size. */
  list({ diffIds }: Pick<Image, 'diffIds'>): string[] {
    using files = new ImageFiles(this.store, diffIds);
    const lines: string[] = [];
    walkTree(files.tree, (path, node) => {
      const detail = node.type === 'symlink' ? ` -> ${node.linkname}` : node.type === 'file' ? ` ${node.size}` : '';
      const mode = node.mode.toString(8).padStart(4, '0');
      if (path !== '')
        lines.push(`${node.type === 'symlink' ? 'l' : node.type[0]} ${mode} ${node.uid}:${node.gid} ${path}${detail}`);
    });
    return lines;
  }

  paths(image: Pick<Image, 'diffIds'>): string[] {
    return this.list(image).map((line) => line.split(' ')[3]!);
  }

  read({ diffIds }: Pick<Image, 'diffIds'>, path: string): string | undefined {
    using files = new ImageFiles(this.store, diffIds);
    const node = findSource(files.root, path, true);
    return node?.type === 'file' ? readSource(node).toString() : undefined;
  }

  /** A root file system of a static busybox, as `base`. Undefined where the machine has none. */
  async importBase(extra: Files = {}): Promise<Digest> {
    const root = join(this.directory, 'base');
    mkdirSync(join(root, 'bin'), { recursive: true });
    copyFileSync(findBusybox()!, join(root, 'bin/busybox'));
    chmodSync(join(root, 'bin/busybox'), 0o755);
    for (const name of 'sh ls cat echo mkdir rm touch ln mv find grep id env pwd chmod sleep true false'.split(' ')) {
      symlinkSync('busybox', join(root, 'bin', name));
    }
    this.write(
      {
        'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n',
        'etc/group': 'root:x:0:\nbob:x:1001:\nstaff:x:50:\n',
        'tmp/': '',
        ...extra,
      },
      root,
    );
    const tar = join(this.directory, 'base.tar');
    execFileSync('tar', ['-cf', tar, '--numeric-owner', '--owner=0', '--group=0', '-C', root, '.']);
    const { id } = await importImage(this.store, tar, { reference: 'base' });
    return id;
  }
}

function findBusybox(): string | undefined {
  for (const path of ['/bin/busybox', '/usr/bin/busybox', '/bin/busybox.static']) {
    try {
      const file = execFileSync(path, ['true'], { stdio: 'ignore' });
      if (file !== undefined) return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** Why RUN cannot be tested here; undefined where it can. */
export function whyNoRun(): string | false {
  if (process.getuid?.() !== 0) return 'RUN needs root to mount';
  if (findBusybox() === undefined) return 'busybox is not installed';
  for (const runtime of ['runc', 'crun']) {
    try {
      execFileSync(runtime, ['--version'], { stdio: 'ignore' });
      return false;
    } catch {
      // The other one may be here.
    }
  }
  return 'neither runc nor crun is installed';
}
