import {
  authKey,
  type DockerConfig,
  deleteAuth,
  dockerConfigPath,
  fallbackConfigPaths,
  findHelper,
  readAuth,
  readDockerConfig,
  setAuth,
  updateDockerConfig,
} from './docker-config.ts';
import type { ClientOptions, Credentials } from './types.ts';

/** Where credentials were put. */
export type CredentialPlace = { kind: 'file'; path: string } | { kind: 'helper'; name: string };

/**
 * The credentials for a registry: of Docker's config.json (helper, then `auths`), else of Podman's auth.json; undefined
 * where there are none. Throws `BAD_DOCKER_CONFIG`, `CREDENTIAL_HELPER_*`.
 */
export async function findCredentials(registry: string, options: ClientOptions): Promise<Credentials | undefined> {
  for (const path of [dockerConfigPath(options), ...fallbackConfigPaths(options)]) {
    const found = await findIn(readDockerConfig(path), registry, options);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function findIn(
  config: DockerConfig,
  registry: string,
  options: ClientOptions,
): Promise<Credentials | undefined> {
  const helper = findHelper(config, registry);
  if (helper !== undefined) {
    const { getFromHelper } = await import('./credential-helpers.ts');
    const found = await getFromHelper(helper, authKey(registry), options);
    if (found !== undefined) return found;
  }
  return readAuth(config, registry);
}

/** Puts credentials into the helper that config.json names, or else into config.json itself. */
export async function storeCredentials(
  registry: string,
  credentials: Credentials,
  options: ClientOptions,
): Promise<CredentialPlace> {
  const path = dockerConfigPath(options);
  const helper = findHelper(readDockerConfig(path), registry);
  if (helper !== undefined) {
    const { storeInHelper } = await import('./credential-helpers.ts');
    await storeInHelper(helper, authKey(registry), credentials, options);
  }
  updateDockerConfig(path, (config) => setAuth(config, registry, helper === undefined ? credentials : undefined));
  return helper === undefined ? { kind: 'file', path } : { kind: 'helper', name: helper };
}

/** Takes credentials out of config.json and its helper. False where there were none. */
export async function eraseCredentials(registry: string, options: ClientOptions): Promise<boolean> {
  const path = dockerConfigPath(options);
  const config = readDockerConfig(path);
  const helper = findHelper(config, registry);
  let had = false;
  if (helper !== undefined) {
    const { eraseFromHelper, getFromHelper } = await import('./credential-helpers.ts');
    had = (await getFromHelper(helper, authKey(registry), options)) !== undefined;
    if (had) await eraseFromHelper(helper, authKey(registry), options);
  }
  if (!deleteAuth(config, registry)) return had;
  updateDockerConfig(path, (latest) => {
    deleteAuth(latest, registry);
  });
  return true;
}
