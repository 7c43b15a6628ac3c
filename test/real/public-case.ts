/** Dockerfiles that nobody here wrote, and where they come from. */
import type { RealBuild } from './peer.ts';

export interface PublicPackage {
  project: string;
  /** SPDX. */
  licence: string;
  /** deb: a source package of Debian 12; npm: a package of the npm registry. */
  kind: 'deb' | 'npm';
  package: string;
  /** When the table was made. The newest of Debian 12 is fetched; of npm's, this one. */
  version: string;
  dockerfiles: PublicDockerfile[];
}

export interface PublicDockerfile extends Pick<RealBuild, 'name' | 'target' | 'args' | 'volatile'> {
  /** In the package, below its outermost directory. */
  path: string;
  /** Of the Dockerfile as it is in the package. */
  sha256: string;
  /** Directory in the package; default: the Dockerfile's. */
  context?: string;
  /** Files that the project's own build would have put into the context: path → text; `traced.tgz` is an archive. */
  made?: Record<string, string>;
  /** Changes of the text, for what the internet has and this machine has not: from → to. */
  adapted?: [string, string][];
  /** Its steps fetch for real, with apt-get or npm. Default: they have no network. */
  fetches?: true;
  /** The Docker official image that this is upstream's own Dockerfile of. */
  official?: string;
}
