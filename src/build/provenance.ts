import type { Digest } from '../core/digest.ts';
import type { Predicate } from '../image/attestation.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { formatPurl, imagePurl } from '../oci/purl.ts';
import { parseReference } from '../oci/reference.ts';

/** What went into a build from outside, and which bytes it was. */
export interface Material {
  uri: string;
  /** Algorithm → lower-case hex. */
  digest: Readonly<Record<string, string>>;
}

/** Gathers the materials of a build as its steps come upon them; each counts once. */
export class Materials {
  readonly #found: Map<string, Material> = new Map();

  /** An image that a stage starts from, or that a COPY takes from. `digest` is of what the reference named. */
  addImage(reference: string, platform: Platform, digest: Digest): void {
    const layout = /^oci-layout:\/\/(?:.*\/)?([^/@:]+)/.exec(reference)?.[1];
    if (layout !== undefined) {
      this.#add(formatPurl({ type: 'oci', name: layout, version: digest }), digest);
      return;
    }
    const { digest: _pinned, ...named } = parseReference(reference);
    const suffix = named.tag === undefined ? `@${digest}` : `:${named.tag}`;
    this.#add(imagePurl(`${named.domain}/${named.path}${suffix}`, platform), digest);
  }

  addHttp(url: string, digest: Digest): void {
    this.#add(withoutSecrets(url), digest);
  }

  /** `commit` in full, SHA-1 or SHA-256. */
  addGit(url: string, commit: string): void {
    const uri = withoutSecrets(url);
    this.#found.set(uri, { uri, digest: { [commit.length === 64 ? 'sha256' : 'sha1']: commit } });
  }

  /** Sorted, so that the order of steps that run side by side does not show. */
  list(): Material[] {
    return [...this.#found.values()].sort((a, b) => (a.uri < b.uri ? -1 : a.uri > b.uri ? 1 : 0));
  }

  #add(uri: string, digest: Digest): void {
    const [algorithm, hex] = digest.split(':') as [string, string];
    this.#found.set(uri, { uri, digest: { [algorithm]: hex } });
  }
}

/** Names and passwords in a URL are taken out, and so is a query: signed URLs have their key there. */
export function withoutSecrets(url: string): string {
  try {
    const parsed = new URL(url);
    parsed.username = '';
    parsed.password = '';
    parsed.search = '';
    return parsed.href;
  } catch {
    // user@host:path of SSH has no password.
    return url.replace(/\?[^#]*/, '');
  }
}

/** What is known of a build when it is done. */
export interface BuildFacts {
  /** Of the Dockerfile: its name, and its text. */
  dockerfile: { name: string; text: string };
  /** From where the context came: a git or http URL; undefined for a directory and for standard input. */
  contextUrl?: string;
  target?: string;
  buildArgs: ReadonlyMap<string, string>;
  labels: Readonly<Record<string, string>>;
  /** IDs alone; never what is in them. */
  secrets: readonly string[];
  ssh: readonly string[];
  /** Files came from this machine. */
  local: boolean;
  /** No step could reach a network. */
  hermetic: boolean;
  noCache: boolean;
  network: string;
  /** Of the machine that builds. */
  host: Platform;
  materials: readonly Material[];
  invocationId: string;
  started: Date;
  finished: Date;
}

export interface ProvenanceStyle {
  mode: 'min' | 'max';
  version: 'v0.2' | 'v1';
  builderId: string;
  reproducible: boolean;
}

const BUILD_TYPE = {
  'v0.2': 'https://mobyproject.org/buildkit@v1',
  v1: 'https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md',
} as const;

/** BuildKit's extensions of SLSA, docs/attestations/slsa-definitions.md. */
const EXTENSION = 'https://mobyproject.org/buildkit@v1#';

/**
 * SLSA provenance with BuildKit's members (docs/attestations/slsa-definitions.md), so that its readers take it. Steps
 * are not told as LLB, which is BuildKit's own. `min` leaves out what may be confidential: build arguments, labels, the
 * IDs of secrets, the Dockerfile's text.
 */
export function composeProvenance(facts: BuildFacts, style: ProvenanceStyle): Predicate {
  const value = style.version === 'v1' ? slsa1(facts, style) : slsa02(facts, style);
  return { type: `https://slsa.dev/provenance/${style.version}`, value, fileName: 'provenance.json' };
}

function slsa02(facts: BuildFacts, style: ProvenanceStyle): unknown {
  const { uri, digest } = configSource(facts);
  return {
    builder: { id: style.builderId },
    buildType: BUILD_TYPE['v0.2'],
    materials: facts.materials,
    invocation: {
      configSource: { uri, digest, entryPoint: facts.dockerfile.name },
      parameters: parameters(facts, style),
      environment: { platform: formatPlatform(facts.host) },
    },
    metadata: {
      buildInvocationID: facts.invocationId,
      buildStartedOn: facts.started.toISOString(),
      buildFinishedOn: facts.finished.toISOString(),
      completeness: { parameters: isComplete(facts, style), environment: true, materials: !facts.local },
      reproducible: style.reproducible,
      [`${EXTENSION}hermetic`]: isHermetic(facts) ? true : undefined,
      [`${EXTENSION}metadata`]: sourceOf(facts, style),
    },
  };
}

function slsa1(facts: BuildFacts, style: ProvenanceStyle): unknown {
  const { uri, digest } = configSource(facts);
  return {
    buildDefinition: {
      buildType: BUILD_TYPE.v1,
      externalParameters: {
        configSource: { uri, digest, path: facts.dockerfile.name },
        request: parameters(facts, style),
      },
      internalParameters: { builderPlatform: formatPlatform(facts.host) },
      resolvedDependencies: facts.materials,
    },
    runDetails: {
      builder: { id: style.builderId },
      metadata: {
        invocationId: facts.invocationId,
        startedOn: facts.started.toISOString(),
        finishedOn: facts.finished.toISOString(),
        buildkit_metadata: sourceOf(facts, style),
        buildkit_hermetic: isHermetic(facts) ? true : undefined,
        buildkit_completeness: { request: isComplete(facts, style), resolvedDependencies: !facts.local },
        buildkit_reproducible: style.reproducible ? true : undefined,
      },
    },
  };
}

function configSource({ contextUrl, materials }: BuildFacts): { uri?: string; digest?: Material['digest'] } {
  if (contextUrl === undefined) return {};
  const uri = withoutSecrets(contextUrl);
  // A material is all of a repository: the directory that is the context is left out.
  const whole = uri.replace(/#([^:]*):.*$/, (_, ref: string) => ref && `#${ref}`);
  return { uri, digest: materials.find((material) => material.uri === whole)?.digest };
}

function parameters(facts: BuildFacts, { mode }: ProvenanceStyle): unknown {
  const all = mode === 'max';
  const { target, buildArgs, labels, secrets, ssh, local, noCache, network, dockerfile } = facts;
  const args: Record<string, string> = {};
  if (target !== undefined) args.target = target;
  if (dockerfile.name !== 'Dockerfile') args.filename = dockerfile.name;
  if (noCache) args['no-cache'] = '';
  if (network !== 'host') args['force-network-mode'] = network;
  if (all) {
    for (const [name, value] of buildArgs) args[`build-arg:${name}`] = isProxyName(name) ? withoutUser(value) : value;
    for (const [name, value] of Object.entries(labels)) args[`label:${name}`] = value;
  }
  return {
    frontend: 'dockerfile.v0',
    args: Object.keys(args).length === 0 ? undefined : args,
    locals: local ? [{ name: 'context' }, { name: 'dockerfile' }] : undefined,
    secrets: all && secrets.length > 0 ? secrets.map((id) => ({ id })) : undefined,
    ssh: all && ssh.length > 0 ? ssh.map((id) => ({ id })) : undefined,
  };
}

function isProxyName(name: string): boolean {
  return /_proxy$/i.test(name);
}

/** A proxy's URL may have a password in it. */
function withoutUser(text: string): string {
  return text.replace(/^([a-z0-9+.-]+:\/\/)?[^/@]*@/i, '$1');
}

function isComplete({ buildArgs, labels, secrets, ssh }: BuildFacts, { mode }: ProvenanceStyle): boolean {
  return (
    mode === 'max' || (buildArgs.size === 0 && Object.keys(labels).length === 0 && secrets.length + ssh.length === 0)
  );
}

function isHermetic({ hermetic, local }: BuildFacts): boolean {
  return hermetic && !local;
}

function sourceOf({ dockerfile }: BuildFacts, { mode }: ProvenanceStyle): unknown {
  if (mode === 'min') return {};
  const data = Buffer.from(dockerfile.text).toString('base64');
  return { source: { infos: [{ filename: dockerfile.name, language: 'Dockerfile', data }] } };
}
