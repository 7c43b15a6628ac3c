import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  type ContextSource,
  directorySource,
  EMPTY_CONTEXT,
  fixedSource,
  privateSource,
} from '../build/context/context-source.ts';
import type { SourceNode } from '../build/context/source.ts';
import { readTarContext } from '../build/context/tar.ts';
import type { RemoteEpoch } from '../build/epoch-source.ts';
import type { BuildProgress } from '../build/events.ts';
import type { Materials } from '../build/provenance.ts';
import { showRemote } from '../build/remote/http.ts';
import { gitAuthorization, type ReadSecret, type RemoteRights } from '../build/remote/secrets.ts';
import { lastName } from '../build/remote/url.ts';
import { byteString } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import { explainWriteError } from '../store/errors.ts';
import { Ingest } from '../store/ingest.ts';
import type { Store } from '../store/store.ts';
import { type GitSource, hideCredentials, parseGitUrl } from '../system/git-url.ts';
import { type Arrived, type ContextInput, fileNode, receive } from './build-context-stream.ts';
import { type Cloned, checkFile, type Fetched, fetchedTime } from './build-context-time.ts';
import {
  type DockerfileSource,
  readArrivedDockerfile,
  readIgnore,
  readInnerDockerfile,
  readLocalDockerfile,
} from './build-dockerfile.ts';

export interface ContextOptions {
  /** Undefined: no files. */
  context?: ContextInput;
  /** Path of the Dockerfile, its URL, or its text. In a context that is not a directory here, the path is in the context. */
  file?: string | DockerfileSource;
}

export interface OpenedContext {
  source: ContextSource;
  dockerfile: DockerfileSource;
  /** Of its ignore file. */
  ignorePatterns: string[];
}

const PLACE = 'the build context';

/** The contexts of one build. Whatever was fetched or unpacked for it is gone when this is disposed. */
export class BuildContexts implements Disposable {
  readonly #store: Store;
  readonly #progress: BuildProgress;
  readonly #signal: AbortSignal | undefined;
  readonly #keepGitDir: boolean;
  readonly #materials: Materials | undefined;
  readonly #rights: RemoteRights;
  readonly #held = new DisposableStack();
  readonly #named: Map<string, Promise<ContextSource>> = new Map();
  /** What was fetched, by its place; undefined is the main context. */
  readonly #fetched: Map<string | undefined, Fetched> = new Map();

  constructor(options: {
    store: Store;
    progress: BuildProgress;
    signal?: AbortSignal;
    keepGitDir: boolean;
    /** Gets what was fetched. */
    materials?: Materials;
    readSecret?: ReadSecret;
  }) {
    this.#store = options.store;
    this.#progress = options.progress;
    this.#signal = options.signal;
    this.#keepGitDir = options.keepGitDir;
    this.#materials = options.materials;
    this.#rights = options;
  }

  /** The main context and the Dockerfile. Throws `BAD_CONTEXT`, `NO_DOCKERFILE`, and what fetching throws. */
  async open({ context, file: named }: ContextOptions): Promise<OpenedContext> {
    const ignorePatterns: string[] = [];
    const file = typeof named === 'string' && isUrl(named) ? await this.#receiveDockerfile(named) : named;
    if (context === undefined) {
      return {
        source: EMPTY_CONTEXT,
        dockerfile: await readLocalDockerfile(undefined, file, this.#signal),
        ignorePatterns,
      };
    }
    if (typeof context === 'string') {
      if (isDirectory(context)) {
        const dockerfile = await readLocalDockerfile(context, file, this.#signal);
        const own = typeof file === 'object' ? undefined : `${file ?? join(context, 'Dockerfile')}.dockerignore`;
        const ignored = readIgnore(context, own);
        return { source: this.#directory(context, ignored), dockerfile, ignorePatterns: ignored };
      }
      const git = parseGitUrl(/^github\.com\//.test(context) ? `https://${context}` : context);
      if (git !== undefined) {
        const cloned = await this.#clone({ ...git, keepGitDir: git.keepGitDir ?? this.#keepGitDir });
        this.#fetched.set(undefined, cloned);
        const source = privateSource(cloned.directory, PLACE);
        return { source, dockerfile: readInnerDockerfile(source.open().root, file), ignorePatterns };
      }
      if (!isUrl(context)) throw badContext(context);
    }
    const arrived = await this.#receive(context, PLACE);
    if (typeof context === 'string') this.#fetched.set(undefined, arrived);
    if (arrived.kind === 'tar') {
      const source = fixedSource(this.#openTar(arrived), PLACE);
      return { source, dockerfile: readInnerDockerfile(source.open().root, file), ignorePatterns };
    }
    if (file !== undefined) throw twoDockerfiles(context);
    return {
      source: EMPTY_CONTEXT,
      dockerfile: { name: 'Dockerfile', text: readArrivedDockerfile(arrived) },
      ignorePatterns,
    };
  }

  /** A named context's files; each place once. */
  openNamed(place: string): Promise<ContextSource> {
    let opened = this.#named.get(place);
    if (opened === undefined) {
      opened = this.#openNamed(place);
      this.#named.set(place, opened);
    }
    return opened;
  }

  async #openNamed(place: string): Promise<ContextSource> {
    const shown = `build context ${hideCredentials(place)}`;
    if (isDirectory(place)) return this.#directory(place, readIgnore(place), shown);
    const git = parseGitUrl(place);
    if (git !== undefined) {
      const cloned = await this.#clone(git);
      this.#fetched.set(place, cloned);
      return privateSource(cloned.directory, shown);
    }
    if (!isUrl(place)) throw badContext(place);
    const arrived = await this.#receive(place, shown);
    this.#fetched.set(place, arrived);
    // As BuildKit: one file of the URL's name, and no archive is unpacked.
    const name = byteString(lastName(new URL(place)) ?? 'download');
    return fixedSource(fileNode(name, arrived), shown);
  }

  /**
   * When the files of a context were made, as far as that is known of what comes over the network: the commit's time,
   * what the server says, else the newest file of an archive. `place`: of a named one; undefined is the main context.
   */
  async timeOf(place: string | undefined): Promise<Date | undefined> {
    if (place !== undefined) await this.openNamed(place);
    return fetchedTime(this.#fetched.get(place));
  }

  /** The same of what ADD would fetch. Throws `DIGEST_MISMATCH`, and what fetching throws. */
  async timeOfRemote({ source, checksum }: RemoteEpoch): Promise<Date | undefined> {
    if (source.kind === 'git') {
      const { git } = source;
      return fetchedTime(await this.#clone({ ...git, checksum: checksum ?? git.checksum }));
    }
    const arrived = await this.#receive(source.url.href, showRemote(source.url), true);
    if (checksum !== undefined && arrived.modified === undefined) await checkFile(arrived.path, checksum, source.url);
    return fetchedTime(arrived);
  }

  #directory(path: string, ignored: readonly string[], shown?: string): ContextSource {
    const source = directorySource(this.#store, path, ignored, shown);
    this.#held.defer(() => source.save?.());
    return source;
  }

  #clone(source: GitSource): Promise<Cloned> {
    return this.#progress.step(`[internal] load git source ${hideCredentials(source.url)}`, async (step) => {
      const { fetchGit } = await import('../system/git.ts');
      const authorization = gitAuthorization(source.url, this.#rights);
      const directory = this.#held.use(Ingest.create(this.#store, 'context')).path('files');
      const { commit, time } = await fetchGit(source, directory, { signal: this.#signal, authorization });
      step.note(`commit ${commit}`);
      this.#materials?.addGit(source.ref === undefined ? source.url : `${source.url}#${source.ref}`, commit);
      return { value: { directory, time: new Date(time * 1000) } };
    });
  }

  #receive(context: ContextInput, what: string, timeOnly = false): Promise<Arrived> {
    const name = typeof context === 'string' ? `load remote ${what.replace(/^the /, '')}` : `load ${what.slice(4)}`;
    return this.#progress.step(`[internal] ${name}`, async (step) => {
      const options = { unpack: what === PLACE, timeOnly, signal: this.#signal, note: step.note, rights: this.#rights };
      try {
        const ingest = this.#held.use(Ingest.create(this.#store, 'context'));
        const arrived = await receive(context, ingest.path('context'), options);
        const { digest } = arrived;
        // What ADD would fetch it tells of itself.
        if (typeof context === 'string' && !timeOnly && digest !== undefined) this.#materials?.addHttp(context, digest);
        return { value: arrived };
      } catch (error) {
        throw explainWriteError(error, this.#store.root);
      }
    });
  }

  /** `-f URL`, beside whatever context. */
  async #receiveDockerfile(url: string): Promise<DockerfileSource> {
    const arrived = await this.#receive(url, 'Dockerfile');
    return { name: lastName(new URL(url)) ?? 'Dockerfile', text: readArrivedDockerfile(arrived) };
  }

  #openTar({ path, size }: Arrived): SourceNode {
    const fd = openSync(path, 'r');
    this.#held.defer(() => closeSync(fd));
    return readTarContext(fd, size);
  }

  [Symbol.dispose](): void {
    this.#held.dispose();
  }
}

function isUrl(text: string): boolean {
  return /^https?:\/\//.test(text);
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function badContext(context: string): ImagoError {
  const there = existsSync(context);
  return new ImagoError('BAD_CONTEXT', there ? 'the build context is no directory' : 'no such build context', {
    path: resolve(context),
    remedy: 'give a directory, a git or http URL, or - for a tar or a Dockerfile on standard input',
  });
}

function twoDockerfiles(context: ContextInput): ImagoError {
  const where = typeof context === 'string' ? 'the URL' : 'standard input';
  return new ImagoError('BAD_USAGE', `there are two Dockerfiles: the one named, and what comes from ${where}`, {
    want: 'a tar with the Dockerfile in it',
    remedy: 'leave --file out',
  });
}
