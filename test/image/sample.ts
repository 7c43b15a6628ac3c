import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { appendLayer, editConfig, emptyDraft, type ImageDraft, tarLayer, writeImage } from '../../src/image/draft.ts';
import { tagImage } from '../../src/image/tags.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { formatReference, parseReference } from '../../src/oci/reference.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import type { Lease } from '../../src/store/lease.ts';
import { Store } from '../../src/store/store.ts';

/** A store in a directory of its own, and small real images in it. */
export class Sample implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'imago-image-'));
  readonly store: Store = Store.open({ root: join(this.directory, 'root'), run: join(this.directory, 'run') });
  #count = 0;

  /** A tar by GNU tar. `files`: path → content; a path that ends in '/' is a directory. */
  tar(files: Record<string, string>): string {
    const number = this.#count++;
    const base = join(this.directory, `tree${number}`);
    mkdirSync(base);
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(base, path)), { recursive: true });
      if (path.endsWith('/')) mkdirSync(join(base, path), { recursive: true });
      else writeFileSync(join(base, path), content);
    }
    const tar = join(this.directory, `${number}.tar`);
    const how = ['--sort=name', '--mtime=@1000', '--owner=0', '--group=0', '--numeric-owner'];
    execFileSync('tar', [...how, '-C', base, '-cf', tar, '.']);
    return tar;
  }

  async draft(lease: Lease, layers: Record<string, string>[], platform = 'linux/amd64'): Promise<ImageDraft> {
    let draft = emptyDraft(parsePlatform(platform));
    for (const [i, files] of layers.entries()) {
      const layer = await ingestLayer(this.store, lease, { path: this.tar(files) });
      const created = `2026-01-01T00:00:0${i}Z`;
      draft = appendLayer(draft, tarLayer(layer), { created, created_by: `layer ${i}` });
    }
    return editConfig(draft, { Cmd: ['/bin/app'] }, { created: '2026-01-01T00:01:00Z', created_by: 'CMD' });
  }

  /** Writes and tags an image; returns its manifest's descriptor. */
  async image(
    name: string,
    layers: Record<string, string>[],
    edit?: (draft: ImageDraft) => ImageDraft,
  ): Promise<Descriptor> {
    using lease = this.store.lease('test');
    const draft = await this.draft(lease, layers);
    const { descriptor } = writeImage(this.store, lease, edit?.(draft) ?? draft);
    tagImage(this.store, formatReference(parseReference(name)), descriptor);
    return descriptor;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
