import { hash } from 'node:crypto';
import { type ByteString, byteString, displayName } from '../../core/bytes.ts';
import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { cleanSlashes } from '../../formats/dockerfile/path.ts';
import { ingestLayer } from '../../store/ingest-layer.ts';
import { BuildCache, stepKey } from '../cache.ts';
import type { SourceNode } from '../context/source.ts';
import { type LayerContext, timeText } from '../copy/copy.ts';
import { digestInputs, type FileTexts } from '../copy/inputs.ts';
import type { CopyOrigin } from '../copy/origin.ts';
import type { Member } from '../copy/place.ts';
import { type Selected, selectSources } from '../copy/select.ts';
import { ChunkWriter, finishTar, writeMembers } from '../copy/stream.ts';

/** Layers to mount, and what of them. */
export interface MountedLayers {
  diffIds: readonly Digest[];
  /** Absolute, in the layers. */
  source: string;
}

/** The name of a context's file or directory in the layer that is made of it. */
const NAME = 'm';

/**
 * What a mount shows of the build context, of a stage or of an image. Layers are mounted as they are. A directory of
 * the host becomes a layer first: so what the command sees is what the key was made of, ignored files are not there,
 * owners are those of a COPY, and a context that did not change costs nothing the next time.
 */
export class MountSource {
  readonly #origin: CopyOrigin;
  readonly #source: string;
  readonly #context: LayerContext;
  readonly #memo: ReturnType<CopyOrigin['memo']>;
  #selected: Selected | undefined;
  #inputs: string | undefined;

  constructor(origin: CopyOrigin, source: string, context: LayerContext) {
    this.#origin = origin;
    this.#source = cleanSlashes(`/${source}`);
    this.#context = context;
    this.#memo = origin.memo({ sources: ['--mount', this.#source], exclude: [] }, () => [[this.#select()]]);
  }

  /** Known without reading anything: the layers themselves, where all of them is mounted. */
  get key(): readonly string[] | undefined {
    return this.#source === '/' ? this.#origin.layers : undefined;
  }

  /** Digest over what is mounted: names, contents, modes, owners where they count; no times. Throws `COPY_SOURCE_NOT_FOUND`. */
  inputs(): string {
    if (this.key !== undefined) return '';
    this.#inputs ??= this.#memo.get() ?? this.#digest(new Map());
    this.#memo.set(this.#inputs);
    return this.#withRoot(this.#inputs);
  }

  /** What is to be mounted; held by the lease. `inputs` then tells of what was read for it. */
  async take(): Promise<MountedLayers> {
    const { layers } = this.#origin;
    if (layers !== undefined) return { diffIds: layers, source: this.#source };
    const { store, lease, now } = this.#context;
    // One of its own: a mount is no step, and does not travel with the build's cache.
    const cache = new BuildCache(store, lease);
    const key = stepKey(['mount', this.#origin.ownersCount]);
    const hit = cache.has(key) ? cache.get(key, this.inputs()) : undefined;
    const layer = hit?.layer ?? (await this.#makeLayer());
    if (hit === undefined) cache.set(key, this.inputs(), { layer, created: timeText(now) });
    return { diffIds: [layer], source: `/${NAME}` };
  }

  async #makeLayer(): Promise<Digest> {
    const { store, lease, signal } = this.#context;
    const texts: FileTexts = new Map();
    const members = membersOf(this.#select());
    const tar = (async function* () {
      const out = new ChunkWriter();
      yield* writeMembers(out, members, texts);
      yield* finishTar(out);
    })();
    const { diffId } = await ingestLayer(store, lease, tar, { signal });
    this.#origin.remember(texts);
    this.#inputs = this.#digest(texts);
    return diffId;
  }

  #digest(texts: FileTexts): string {
    return digestInputs([[this.#select()]], this.#origin.reader(texts), { owners: this.#origin.ownersCount });
  }

  /** A COPY takes no attributes of the directory that it names; a mount shows them. */
  #withRoot(inputs: string): string {
    const { type, mode, uid, gid } = this.#select().node;
    const owner = this.#origin.ownersCount ? `${uid}:${gid}` : '';
    return hash('sha256', `${inputs} ${type} ${mode.toString(8)} ${owner}`, 'hex');
  }

  #select(): Selected {
    if (this.#selected !== undefined) return this.#selected;
    const { root, place } = this.#origin;
    const [selected] = selectSources(root, this.#source.replace(/[*?[\\]/g, '\\$&'), { place });
    this.#selected = selected!;
    return this.#selected;
  }
}

function membersOf({ node, below }: Selected): Member[] {
  return [memberOf(NAME, node), ...below.map((file) => memberOf(`${NAME}/${file.path}`, file.node))];
}

function memberOf(path: ByteString, node: SourceNode): Member {
  if (path.slice(path.lastIndexOf('/') + 1).startsWith('.wh.')) {
    throw new ImagoError('RESERVED_NAME', `cannot mount a file named '${displayName(path).slice(NAME.length + 1)}'`, {
      remedy: "names that start with '.wh.' mean deletions in a layer: rename it, or exclude it in .dockerignore",
    });
  }
  const directory = node.type === 'directory';
  const { type, mode, uid, gid, size, devmajor, devminor, mtime } = node;
  const linkname = type === 'symlink' ? node.linkname : '';
  const attributes = { path: byteString(path), type, mode, uid, gid, size, devmajor, devminor, linkname };
  return {
    ...attributes,
    mtime: { sec: mtime.sec, nsec: 0 },
    xattrs: directory ? node.xattrs() : undefined,
    source: directory ? undefined : node,
  };
}
