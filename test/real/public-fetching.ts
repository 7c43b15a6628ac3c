/** The root file system for Dockerfiles whose steps fetch for real: Debian 12 as it is installed, Node, npm. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../../src/store/store.ts';
import { importRoot, type Peer } from './peer.ts';
import type { Apt } from './public-apt.ts';
import { mustRun } from './public-run.ts';

/** What their Dockerfiles start from. */
const NAMES = ['debian:bullseye-slim', 'node:24-slim', 'node:24-trixie-slim'];

const NPM = 'npm@11.6.2';
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/** A tar's path. The mirror and the certificates are this machine's. */
export async function makeFetchingRoot(apt: Apt, home: string): Promise<string> {
  const added = join(home, 'added');
  const [sbin, modules, certificates] = ['usr/local/sbin', 'usr/local/lib/node_modules/npm', 'etc/ssl/certs'].map(
    (name) => join(added, name),
  ) as [string, string, string];
  for (const directory of [sbin, modules, certificates]) mkdirSync(directory, { recursive: true });
  copyFileSync(process.execPath, join(sbin, 'node'));
  const packed = await mustRun(['npm', 'pack', '--silent', NPM], { cwd: home });
  await mustRun(['tar', '-xf', join(home, packed.trim()), '--strip-components=1', '-C', modules]);
  for (const name of ['corepack', 'yarn'])
    copyFileSync(join(import.meta.dirname, 'traced-command.sh'), join(sbin, name));
  await mustRun(['sh', '-c', 'cp "$0" "$1" 2>/dev/null || true', CERTIFICATES, certificates]);
  const hook = join(home, 'hook.sh');
  writeFileSync(hook, HOOK, { mode: 0o755 });
  const root = join(home, 'fetching.tar');
  const parts = ['doc', 'info', 'locale', 'man'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
  const options = ['--variant=apt', '--include=libatomic1', '--dpkgopt=force-unsafe-io', ...parts];
  const lines = [
    `--customize-hook=copy-in ${join(added, 'usr')} ${join(added, 'etc')} /`,
    `--customize-hook=${hook} "$1"`,
  ];
  await mustRun(['mmdebstrap', '--quiet', ...options, ...lines, 'bookworm', root, apt.mirror]);
  return root;
}

const HOOK = `#!/bin/sh -e
chroot "$1" useradd -u 1000 -m -s /bin/bash node
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$1/usr/local/bin/npm"
chmod 755 "$1/usr/local/lib/node_modules/npm/bin/npm-cli.js"
chown -R 0:0 "$1/usr/local"
: >"$1/var/log/traced.log"
chmod 666 "$1/var/log/traced.log"
`;

export async function importFetchingBase(store: Store, peer: Peer, root: string): Promise<void> {
  const registry = (await mustRun(['npm', 'config', 'get', 'registry'])).trim();
  const changes = [
    `ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES} NODE_DISABLE_COMPILE_CACHE=1 npm_config_registry=${registry}`,
    'CMD ["bash"]',
  ];
  await importRoot(store, peer, root, NAMES, changes);
}
