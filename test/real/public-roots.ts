/**
 * Root file systems of Debian's packages for Dockerfiles that are built without a network. What fetches or compiles for
 * long is a script in them that leaves small, always equal traces.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Apt } from './public-apt.ts';
import { mustRun } from './public-run.ts';

/** busybox: one program; debian: a shell and its small programs; xx: scripts alone. */
export type RootName = 'busybox' | 'debian' | 'xx';

/** Paths of tars. */
export type Roots = Record<RootName, string>;

/** All of them are `traced-command.sh`. */
const TRACED = [
  'apk apt apt-get apt-key autoreconf bundle cargo cmake corepack curl debconf-set-selections dnf dpkg easy_install',
  'gcc gem git go gpg locale-gen make meson mk-build-deps ninja npm pacman pip pip3 python python3 rpm skopeo tox unzip update-alternatives',
  'update-ca-certificates wget xx-apk xx-apt xx-go xx-verify yarn yum zypper',
].flatMap((line) => line.split(' '));

/** `traced-account.sh`, in the root that has no such programs. */
const ACCOUNTS = ['addgroup', 'adduser', 'groupadd', 'useradd', 'usermod'];

const PACKAGES = [
  'base-files base-passwd bash bsdutils coreutils dash debianutils findutils gawk grep gzip hostname libacl1 libattr1 libaudit1',
  'libbz2-1.0 libc-bin libc6 libcap-ng0 libcap2 libcap2-bin libcrypt1 libgcc-s1 libgmp10 libmpfr6 libpam0g libpcre2-8-0',
  'libreadline8 libselinux1 libsemanage2 libsepol2 libsigsegv2 libssl3 libtinfo6 passwd sed tar zlib1g',
].flatMap((line) => line.split(' '));

export async function makeRoots(apt: Apt, home: string): Promise<Roots> {
  const [busybox, debian, xx] = ['busybox', 'debian', 'xx'].map((name) => join(home, name)) as [string, string, string];
  await unpackDebian(apt, debian);
  makeBusybox(busybox);
  for (const root of [busybox, debian]) addTraces(root);
  for (const name of ['usr/bin', 'xx-sdk']) mkdirSync(join(xx, name), { recursive: true });
  for (const name of TRACED.filter((word) => word.startsWith('xx-'))) copyScript('command', join(xx, 'usr/bin', name));
  const pack = async (root: string): Promise<string> => {
    const fixed = ['--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--mtime=@1600000000'];
    await mustRun(['tar', '-cf', `${root}.tar`, ...fixed, '-C', root, '.']);
    rmSync(root, { recursive: true });
    return `${root}.tar`;
  };
  return { busybox: await pack(busybox), debian: await pack(debian), xx: await pack(xx) };
}

/** Unpacked, not installed: nothing of the packages runs here. */
async function unpackDebian(apt: Apt, root: string): Promise<void> {
  const debs = `${root}.debs`;
  mkdirSync(debs, { recursive: true });
  await apt.download(PACKAGES, debs);
  // /bin and its like are links to those below /usr.
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  const unpack = 'for deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink; done';
  const files = readdirSync(debs).map((name) => join(debs, name));
  await mustRun(['sh', '-c', unpack, 'sh', ...files], { cwd: root });
  rmSync(debs, { recursive: true });
  for (const name of ['passwd', 'group']) {
    copyFileSync(join(root, `usr/share/base-passwd/${name}.master`), join(root, 'etc', name));
  }
  for (const part of ['doc', 'man', 'locale', 'info'])
    rmSync(join(root, 'usr/share', part), { recursive: true, force: true });
  for (const path of [
    'etc/apt/sources.list',
    'etc/apt/sources.list.d/main.list',
    'etc/locale.gen',
    'usr/lib/ssl/openssl.cnf',
    'usr/share/keyrings/empty.gpg',
  ]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), '');
  }
}

function makeBusybox(root: string): void {
  for (const name of [
    'bin',
    'dev',
    'etc/apk',
    'home',
    'proc',
    'root',
    'sys',
    'tmp',
    'usr/bin',
    'usr/local/bin',
    'usr/sbin',
    'var/log',
  ]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  const program = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  copyFileSync(program, join(root, 'bin/busybox'));
  for (const name of execFileSync(program, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    if (name !== 'busybox') symlinkSync('busybox', join(root, 'bin', name));
  }
  symlinkSync('../../bin/busybox', join(root, 'usr/bin/env'));
  const accounts = [
    'root:x:0:0:root:/root:/bin/sh',
    'daemon:x:1:1::/:/bin/false',
    'node:x:1000:1000::/home/node:/bin/sh',
  ];
  writeFileSync(join(root, 'etc/passwd'), `${accounts.join('\n')}\nnobody:x:65534:65534::/:/bin/false\n`);
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\ndaemon:x:1:\nnode:x:1000:\nnobody:x:65534:\nnogroup:x:65533:\n');
}

function addTraces(root: string): void {
  const place = join(root, 'usr/local/sbin');
  mkdirSync(place, { recursive: true });
  for (const name of TRACED) copyScript('command', join(place, name));
  if (root.endsWith('busybox')) for (const name of ACCOUNTS) copyScript('account', join(place, name));
  chmodSync(join(root, 'tmp'), 0o1777);
  // Also those who are not root leave traces.
  writeFileSync(join(root, 'var/log/traced.log'), '');
  chmodSync(join(root, 'var/log/traced.log'), 0o666);
  mkdirSync(join(root, 'usr/local/share'), { recursive: true });
  packTraces(join(root, 'usr/local/share/traced.tgz'));
}

/** What stands for an archive that is fetched: always the same bytes. */
export function packTraces(archive: string): void {
  const fixed = ['--mtime=@1600000000', '--owner=0', '--group=0'];
  const words = [
    '-czf',
    archive,
    ...fixed,
    '--transform=s,.*,docker/docker,',
    '-C',
    import.meta.dirname,
    'traced-command.sh',
  ];
  execFileSync('tar', words);
}

function copyScript(kind: 'command' | 'account', path: string): void {
  copyFileSync(join(import.meta.dirname, `traced-${kind}.sh`), path);
  chmodSync(path, 0o755);
}
