/** All that Dockerfiles of public projects need to be built here and by docker, for the time of a test. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dropPin } from '../../src/snapshot/pin.ts';
import { Store } from '../../src/store/store.ts';
import { compareBuilds, givenPeer, type Peer } from './peer.ts';
import { type Apt, openApt } from './public-apt.ts';
import { importPublicBases } from './public-bases.ts';
import type { PublicPackage } from './public-case.ts';
import { startDocker } from './public-docker.ts';
import { importFetchingBase, makeFetchingRoot } from './public-fetching.ts';
import { makeRoots } from './public-roots.ts';
import { type Prepared, prepareBuilds } from './public-sources.ts';

export class PublicLab implements AsyncDisposable {
  readonly #home: string = mkdtempSync(join(tmpdir(), 'imago-public-'));
  readonly #store: Store = Store.open({ root: join(this.#home, 'root'), run: join(this.#home, 'run') });
  readonly #ends = new AsyncDisposableStack();
  #builds = new Map<string, Prepared>();
  #peer: Peer | undefined;
  /** Why nothing can be compared here. */
  #reason: string | undefined;
  #fetching: Promise<unknown> = Promise.resolve();

  /**
   * Once. What this machine lacks makes every comparison skip; other failures are thrown. `fetches`: whether one is
   * wanted whose steps fetch.
   */
  async open(packages: PublicPackage[], fetches: boolean): Promise<void> {
    let apt: Apt;
    try {
      apt = await openApt(this.#place('apt'));
    } catch (error) {
      this.#reason = (error as Error).message;
      return;
    }
    // The cases that fetch come last: this goes on beside the others.
    const root = fetches ? makeFetchingRoot(apt, this.#place('fetching')) : undefined;
    this.#fetching = Promise.resolve(root);
    this.#fetching.catch(() => {});
    const others = [
      this.#start(apt),
      prepareBuilds(apt, packages, this.#home),
      makeRoots(apt, this.#place('roots')),
    ] as const;
    const results = await Promise.allSettled([...others]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    const [, builds, roots] = await Promise.all(others);
    this.#builds = builds;
    if (this.#peer === undefined) return;
    await importPublicBases(this.#store, this.#peer, roots);
    if (root === undefined) return;
    this.#fetching = root.then((tar) => importFetchingBase(this.#store, this.#peer!, tar));
    this.#fetching.catch(() => {});
  }

  async #start(apt: Apt): Promise<void> {
    const { DOCKER_HOST, IMAGO_TEST_PEERS } = process.env;
    if ((DOCKER_HOST ?? IMAGO_TEST_PEERS) !== undefined) {
      this.#peer = givenPeer();
      return;
    }
    try {
      this.#peer = this.#ends.use(await startDocker(apt, this.#place('docker')));
    } catch (error) {
      this.#reason = (error as Error).message;
    }
  }

  /** Why a Dockerfile can't be compared, or how the results differ. */
  async compare(name: string): Promise<string | string[]> {
    const build = this.#builds.get(name);
    if (this.#reason !== undefined || this.#peer === undefined) return this.#reason ?? 'there is no docker';
    if (build === undefined || typeof build === 'string') return build ?? 'it is not there';
    if (build.network === 'host') await this.#fetching;
    return compareBuilds(this.#store, this.#peer, build, join(this.#home, 'work'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([this.#fetching]);
    await this.#ends.disposeAsync();
    if (existsSync(join(this.#store.run, 'mnt'))) dropPin(this.#store.run);
    rmSync(this.#home, { recursive: true, force: true });
  }

  #place(name: string): string {
    mkdirSync(join(this.#home, name));
    return join(this.#home, name);
  }
}
