import { ImagoError } from '../core/errors.ts';

/** OCI image-spec v1.1.1, image-index.md `platform`. */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
  'os.version'?: string;
  'os.features'?: string[];
}

const SYSTEMS = new Set(
  'aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris windows'.split(' '),
);
const ARCHITECTURES = new Set(
  '386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm'.split(' '),
);
const PART = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** Other names of the same things → the ones Go uses. As containerd/platforms v1.0.0, database.go. */
export function normalizePlatform(platform: Platform): Platform {
  let os = platform.os.toLowerCase();
  if (os === 'macos') os = 'darwin';
  const [architecture, variant] = normalizeArchitecture(
    platform.architecture.toLowerCase(),
    (platform.variant ?? '').toLowerCase(),
  );
  const { variant: _variant, ...rest } = platform;
  return variant === '' ? { ...rest, os, architecture } : { ...rest, os, architecture, variant };
}

function normalizeArchitecture(arch: string, variant: string): [arch: string, variant: string] {
  switch (arch) {
    case 'i386':
      return ['386', ''];
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return ['amd64', variant === 'v1' ? '' : variant];
    case 'aarch64':
    case 'arm64':
      if (variant === '8' || variant === 'v8' || variant === 'v8.0') return ['arm64', ''];
      if (variant === '9' || variant === '9.0' || variant === 'v9.0') return ['arm64', 'v9'];
      return ['arm64', variant];
    case 'armhf':
      return ['arm', 'v7'];
    case 'armel':
      return ['arm', 'v6'];
    case 'arm':
      if (variant === '' || variant === '7') return ['arm', 'v7'];
      return ['arm', /^[568]$/.test(variant) ? `v${variant}` : variant];
    default:
      return [arch, variant];
  }
}

/** `os`, `arch`, `os/arch` or `os/arch/variant`; what is missing comes from `host`. Throws `BAD_PLATFORM`. */
export function parsePlatform(text: string, host: Platform = { os: 'linux', architecture: 'amd64' }): Platform {
  const parts = text.split('/');
  if (parts.length > 3 || !parts.every((part) => PART.test(part))) throw badPlatform(text);
  const [first, second, variant] = parts;
  if (second !== undefined) {
    return normalizePlatform({ os: first!, architecture: second, ...(variant === undefined ? {} : { variant }) });
  }
  const system = normalizePlatform({ os: first!, architecture: host.architecture });
  if (SYSTEMS.has(system.os)) {
    return normalizePlatform({ ...host, os: system.os });
  }
  const machine = normalizePlatform({ os: host.os, architecture: first! });
  if (ARCHITECTURES.has(machine.architecture)) return machine;
  throw badPlatform(text);
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined || variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** The platform of a machine by its name in Node (`process.arch`) or in uname(1). Images for it are Linux ones. */
export function hostPlatform(arch: string): Platform {
  const names: Record<string, string> = {
    x64: 'amd64',
    ia32: '386',
    ppc64: 'ppc64le',
    mips64el: 'mips64le',
    mipsel: 'mipsle',
    loongarch64: 'loong64',
    armv7l: 'armhf',
    armv6l: 'armel',
  };
  return normalizePlatform({ os: 'linux', architecture: names[arch] ?? arch });
}

/**
 * How well an image for `have` suits a machine that wants `want`: 0 is exact, more is older, -1 does not run.
 * As containerd/platforms v1.0.0 `Only`: amd64/v3 takes v2, v1 and 386; arm/v7 takes v6 and v5; arm64 takes arm.
 * On Linux os.version and os.features do not matter.
 */
export function platformRank(want: Platform, have: Platform): number {
  const h = normalizePlatform(have);
  const vector = acceptable(normalizePlatform(want));
  return vector.findIndex(
    (p) => p.os === h.os && p.architecture === h.architecture && (p.variant ?? '') === (h.variant ?? ''),
  );
}

export function matchPlatform(want: Platform, have: Platform): boolean {
  return platformRank(want, have) >= 0;
}

/** The best of `items` for `want`; the first among equals, as containerd does. Undefined where none runs. */
export function selectPlatform<T>(
  want: Platform,
  items: Iterable<T>,
  platformOf: (item: T) => Platform | undefined,
): T | undefined {
  let best: T | undefined;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const platform = platformOf(item);
    const rank = platform === undefined ? -1 : platformRank(want, platform);
    if (rank >= 0 && rank < bestRank) {
      best = item;
      bestRank = rank;
    }
  }
  return best;
}

function acceptable(want: Platform): Platform[] {
  const { os, architecture, variant } = want;
  const as = (arch: string, v?: string): Platform =>
    normalizePlatform(v === undefined ? { os, architecture: arch } : { os, architecture: arch, variant: v });
  const out: Platform[] = [want];
  const level = Number(variant?.slice(1) ?? Number.NaN);
  if (architecture === 'amd64') {
    for (let v = level - 1; v >= 1; v--) out.push(as('amd64', `v${v}`));
    out.push(as('386'));
  } else if (architecture === 'arm') {
    for (let v = level - 1; v >= 5; v--) out.push(as('arm', `v${v}`));
  } else if (architecture === 'arm64') {
    // v8.2 and v9 run what plain v8 does.
    if (variant !== undefined) out.push(as('arm64'));
    for (let v = 8; v >= 5; v--) out.push(as('arm', `v${v}`));
  }
  return out;
}

function badPlatform(text: string): ImagoError {
  return new ImagoError('BAD_PLATFORM', 'invalid platform', {
    want: 'os/architecture[/variant], for example linux/arm64',
    got: JSON.stringify(text.slice(0, 100)),
  });
}
