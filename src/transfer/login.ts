import {
  type CredentialPlace,
  eraseCredentials,
  findCredentials,
  storeCredentials,
} from '../registry/client/credentials.ts';
import { parseServer, verifyLogin } from '../registry/client/login.ts';
import type { ClientOptions, Credentials } from '../registry/client/types.ts';

export interface LoginResult {
  /** The registry as references name it. */
  registry: string;
  place: CredentialPlace;
}

export interface LogoutResult {
  registry: string;
  /** False where nothing was stored. */
  removed: boolean;
}

/** Shows credentials to a registry and stores them where it takes them. `server` as users write it; none is Docker Hub. */
export async function logIn(
  server: string | undefined,
  credentials: Credentials,
  options: ClientOptions = {},
): Promise<LoginResult> {
  const registry = parseServer(server);
  const kept = await verifyLogin(registry, credentials, options);
  return { registry, place: await storeCredentials(registry, kept, options) };
}

/** What is stored for a registry already. */
export async function findLogin(
  server: string | undefined,
  options: ClientOptions = {},
): Promise<Credentials | undefined> {
  return findCredentials(parseServer(server), options);
}

/** Forgets credentials. */
export async function logOut(server: string | undefined, options: ClientOptions = {}): Promise<LogoutResult> {
  const registry = parseServer(server);
  return { registry, removed: await eraseCredentials(registry, options) };
}
