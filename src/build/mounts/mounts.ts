import { join, normalize } from 'node:path/posix';
import { ImagoError } from '../../core/errors.ts';
import { type CacheSharing, type MountFlag, parseMount } from '../../formats/dockerfile/mount.ts';
import { cleanSlashes } from '../../formats/dockerfile/path.ts';
import { stepKey } from '../cache.ts';
import type { LayerContext } from '../copy/copy.ts';
import type { CopyOrigin } from '../copy/origin.ts';
import type { Origin } from '../plan.ts';
import { runConfig, type StageState } from '../state.ts';
import { type MountedLayers, MountSource } from './source.ts';

interface Ownership {
  uid: number;
  gid: number;
  mode: number;
}

export type CacheMount = {
  id: string;
  sharing: CacheSharing;
  /** Below the cache's own root. */
  source: string;
  /** What a new one starts with. */
  initial?: MountedLayers;
  /** Of a new one's root directory; undefined: 0755, of root, or as `initial` has it. */
  owner: Partial<Ownership>;
};

/** A mount with all that a RUN needs to know of it. Contents of secrets are not among it. */
export type RunMount = { target: string; readonly: boolean } & (
  | ({ type: 'layers' } & MountedLayers)
  | ({ type: 'cache' } & CacheMount)
  | { type: 'tmpfs'; size: number }
  | ({ type: 'secret'; id: string; required: boolean } & Ownership)
  | ({ type: 'ssh'; id: string; required: boolean } & Ownership)
);

/** A variable that has a secret's value. */
export interface SecretVariable {
  name: string;
  id: string;
  required: boolean;
}

export interface MountOptions {
  flags: readonly string[];
  /** Of each flag; undefined is the build context. */
  origins: readonly (Origin | undefined)[];
  state: StageState;
  /** The build argument BUILDKIT_CACHE_MOUNT_NS: what stands before the IDs of caches. */
  cacheNamespace: string | undefined;
  expand(text: string): string;
  open(origin: Origin | undefined): Promise<CopyOrigin>;
  context: LayerContext;
}

/** The mounts of a RUN: what of them goes into its key, and, when it is to be run, what is mounted. */
export class RunMounts {
  /** Everything but contents that are told by `inputs`. */
  readonly key: unknown[] = [];
  readonly variables: SecretVariable[] = [];
  /** NAME=value that the command gets, unless it has the name already. */
  readonly env: [string, string][] = [];
  readonly #sources: MountSource[] = [];
  readonly #mounts: Map<string, () => Promise<RunMount>> = new Map();
  #agents = 0;

  /** Throws `BAD_MOUNT`, and what opening an origin throws. */
  static async prepare(options: MountOptions): Promise<RunMounts> {
    const mounts = new RunMounts();
    for (const [i, text] of options.flags.entries()) {
      await mounts.#add(parseMount(text, options.expand), options.origins[i], options);
    }
    return mounts;
  }

  /** Digest of the contents that count, '' where none does. Throws `COPY_SOURCE_NOT_FOUND`. */
  inputs(): string {
    return this.hasInputs ? stepKey(this.#sources.map((source) => source.inputs())) : '';
  }

  /** Whether `inputs` is anything but ''. */
  get hasInputs(): boolean {
    return this.#sources.length > 0;
  }

  /** What to mount, outer ones first. */
  async take(): Promise<RunMount[]> {
    const mounts: RunMount[] = [];
    for (const make of this.#mounts.values()) mounts.push(await make());
    return mounts.sort((a, b) => a.target.split('/').length - b.target.split('/').length);
  }

  async #add(flag: MountFlag, origin: Origin | undefined, options: MountOptions): Promise<void> {
    switch (flag.type) {
      case 'secret':
        this.#addSecret(flag);
        return;
      case 'ssh':
        this.#addAgent(flag);
        return;
      case 'tmpfs': {
        const { size, readonly } = flag;
        const target = targetOf(flag, options.state);
        this.#put(target, ['tmpfs', size, readonly], async () => ({ type: 'tmpfs', target, size, readonly }));
        return;
      }
      case 'cache':
        await this.#addCache(flag, origin, options);
        return;
      case 'bind':
        await this.#addBind(flag, origin, options);
    }
  }

  async #addBind(flag: MountFlag, origin: Origin | undefined, options: MountOptions): Promise<void> {
    const { readonly } = flag;
    const target = targetOf(flag, options.state);
    const source = this.#source(await options.open(origin), flag.source, options.context);
    this.#put(target, ['bind', readonly, source.key], async () => ({
      type: 'layers',
      target,
      readonly,
      ...(await source.take()),
    }));
  }

  async #addCache(flag: MountFlag, origin: Origin | undefined, options: MountOptions): Promise<void> {
    const { readonly, uid, gid, mode, sharing = 'shared' } = flag;
    const target = targetOf(flag, options.state);
    const own = flag.id || cleanSlashes(flag.target);
    const id = options.cacheNamespace ? `${options.cacheNamespace}/${own}` : own;
    const from =
      origin === undefined || origin.kind === 'scratch'
        ? undefined
        : this.#source(await options.open(origin), flag.source, options.context);
    const source = from === undefined ? cleanSlashes(`/${flag.source}`) : '/';
    const owner = { uid, gid, mode };
    this.#put(target, ['cache', id, readonly, source, owner, from?.key], async () => ({
      type: 'cache',
      target,
      readonly,
      id,
      sharing,
      source,
      owner,
      ...(from === undefined ? {} : { initial: await from.take() }),
    }));
  }

  /** Where the whole of some layers is mounted, they are in the key; of anything else the contents count. */
  #source(origin: CopyOrigin, path: string, context: LayerContext): MountSource {
    const source = new MountSource(origin, path, context);
    if (source.key === undefined) this.#sources.push(source);
    return source;
  }

  #addSecret({ id: given, source, target: wanted, env, required, uid = 0, gid = 0, mode = 0o400 }: MountFlag): void {
    const id = source || given || lastName(wanted);
    if (env !== undefined) {
      if (env === '' || env.includes('=')) {
        throw new ImagoError('BAD_MOUNT', `invalid value for env: ${env}`, { want: 'the name of a variable' });
      }
      this.variables.push({ name: env, id, required });
      this.key.push(['secret', id, env, required]);
      if (wanted === '') return;
    }
    const target = checkTarget(normalize(join('/', wanted || `/run/secrets/${lastName(id)}`)));
    this.#put(target, ['secret', id, required, uid, gid, mode], async () => ({
      type: 'secret',
      target,
      readonly: true,
      id,
      required,
      uid,
      gid,
      mode: mode & 0o777,
    }));
  }

  #addAgent({ id: given, target: wanted, required, uid = 0, gid = 0, mode = 0o600 }: MountFlag): void {
    const id = given || 'default';
    const target = checkTarget(normalize(join('/', wanted || `/run/buildkit/ssh_agent.${this.#agents}`)));
    if (this.#agents++ === 0) this.env.push(['SSH_AUTH_SOCK', target]);
    this.#put(target, ['ssh', id, required, uid, gid, mode], async () => ({
      type: 'ssh',
      target,
      readonly: false,
      id,
      required,
      uid,
      gid,
      mode: mode & 0o777,
    }));
  }

  /** Of two mounts at one place the later one is there. */
  #put(target: string, key: unknown[], make: () => Promise<RunMount>): void {
    this.key.push([target, ...key]);
    this.#mounts.delete(target);
    this.#mounts.set(target, make);
  }
}

/** Absolute, relative ones from the working directory. */
function targetOf({ target }: MountFlag, state: StageState): string {
  const path = target.startsWith('/') ? target : join('/', runConfig(state).WorkingDir || '/', target);
  return checkTarget(normalize(path));
}

function checkTarget(path: string): string {
  const target = path.replace(/(?<=.)\/$/, '');
  if (target === '/') throw new ImagoError('BAD_MOUNT', 'invalid mount target "/"', { want: 'a path below the root' });
  return target;
}

function lastName(path: string): string {
  return path.slice(path.replace(/\/+$/, '').lastIndexOf('/') + 1).replace(/\/+$/, '');
}
