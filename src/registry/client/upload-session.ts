import { badResponse, discard, headerOf, type Place, scopesFor } from './place.ts';
import type { RegistryResponse } from './types.ts';

/** An upload that a registry opened: by POST, or instead of a mount. */
export interface UploadSession {
  /** A full URL. */
  location: string;
  /** Bytes that the registry has. */
  offset: number;
  /** OCI-Chunk-Min-Length. */
  minChunk: number;
}

const CANCEL_MS = 5000;

/** Opens an upload. Throws the transport's errors, `BAD_RESPONSE` without a Location. */
export async function startUpload(place: Place, signal?: AbortSignal): Promise<UploadSession> {
  const response = await place.transport.request({
    method: 'POST',
    target: `/v2/${place.path}/blobs/uploads/`,
    headers: { 'content-length': '0' },
    scopes: scopesFor(place, 'push'),
    answers: [202],
    retry: true,
    signal,
  });
  discard(response);
  return sessionOf(place, response);
}

/** The session that an answer 202 opens. */
export function sessionOf(place: Place, response: RegistryResponse): UploadSession {
  const location = locationOf(place, response);
  if (location === undefined) throw badResponse(place, response, 'opened an upload, but did not say where');
  const min = headerOf(response, 'oci-chunk-min-length');
  return { location, offset: 0, minChunk: min !== undefined && /^\d{1,12}$/.test(min) ? Number(min) : 0 };
}

/** Takes an upload back, as far as the registry lets it; never throws. Waits 5 s at most. */
export async function cancelUpload(place: Place, session: UploadSession): Promise<void> {
  try {
    const response = await place.transport.request({
      method: 'DELETE',
      target: session.location,
      scopes: scopesFor(place, 'push'),
      answers: [200, 202, 204, 404, 405],
      retry: false,
      signal: AbortSignal.timeout(CANCEL_MS),
      afterwards: true,
    });
    discard(response);
  } catch {
    // Registries drop uploads of their own after a while.
  }
}

/** A full URL; undefined where there is no Location. HTTP on the very host that was asked by HTTPS becomes HTTPS. */
export function locationOf(place: Place, response: RegistryResponse): string | undefined {
  const location = headerOf(response, 'location');
  if (location === undefined) return undefined;
  if (!URL.canParse(location, response.url)) throw badResponse(place, response, 'sent a bad Location');
  const base = new URL(response.url);
  const url = new URL(location, base);
  url.hash = '';
  // Registries behind a proxy that ends TLS do not know better.
  if (base.protocol === 'https:' && url.protocol === 'http:' && url.hostname === base.hostname) {
    url.protocol = 'https:';
    url.port = base.port;
  }
  return url.href;
}
