import { ImagoError } from '../../core/errors.ts';
import { discardBody, readStart } from './body.ts';
import { Endpoint } from './endpoint.ts';
import { describeAnswer, MAX_ERROR_BODY } from './errors.ts';
import { badRegistry, DOCKER_HUB, listHosts } from './hosts.ts';
import type { Arrival } from './redirect.ts';
import { openSession } from './session.ts';
import { showUrl } from './shown-url.ts';
import type { ClientOptions, Credentials, RegistryRequest } from './types.ts';

/** As a user names a registry (`https://quay.io/`, `index.docker.io`, nothing) → as references do. Throws `BAD_REGISTRY`. */
export function parseServer(text: string | undefined): string {
  const host = (text ?? '')
    .trim()
    .replace(/^https?:\/\//i, '')
    .replace(/\/(?:v[12]\/?)?$/i, '');
  if (host === '' || host === 'index.docker.io' || host === 'registry-1.docker.io') return DOCKER_HUB;
  if (!/^[^/?#@\s]+$/.test(host) || URL.parse(`https://${host}/`) === null) {
    throw badRegistry(text!, 'HOST[:PORT]');
  }
  return host;
}

/**
 * Shows credentials to a registry. Resolves with what is to be stored: the same, or a refresh token in place of the
 * password where the token server gives one. Throws `UNAUTHORIZED` where they are not taken.
 */
export async function verifyLogin(
  registry: string,
  credentials: Credentials,
  options: ClientOptions,
): Promise<Credentials> {
  const host = listHosts(registry, options).at(-1)!;
  using session = openSession({ ...options, credentials });
  const endpoint = new Endpoint(host, session, { offline: true });
  const request: RegistryRequest = { method: 'GET', target: '/v2/', answers: [200, 401] };
  const ask = (): Promise<Arrival> => endpoint.send(request, session.timing.tries, options.signal);
  let arrival = await ask();
  if (arrival.response.statusCode === 200 && !endpoint.authorizer.asked) {
    // Open to everybody, perhaps for reading alone: is the password right all the same?
    await discardBody(arrival.response);
    endpoint.authorizer.assumeBasic();
    arrival = await ask();
  }
  const { statusCode: status } = arrival.response;
  if (status !== 200) {
    const body = await readStart(arrival.response, MAX_ERROR_BODY);
    throw describeAnswer(status!, body, endpoint.context(request, arrival.url));
  }
  await discardBody(arrival.response);
  if (/html/.test(arrival.response.headers['content-type'] ?? '')) {
    throw new ImagoError('BAD_ANSWER', `${registry} answers like a web site, not like a registry`, {
      path: showUrl(arrival.url),
      remedy: 'check the name',
    });
  }
  const { refreshToken } = endpoint.authorizer;
  return refreshToken === undefined ? credentials : { ...credentials, password: '', identityToken: refreshToken };
}
