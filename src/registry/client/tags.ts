import { Field } from '../../oci/json.ts';
import { isTag } from '../wire/names.ts';
import { badResponse, contentType, nextPage, type Place, requestWhole, scopesFor } from './place.ts';
import type { RegistryRequest, RegistryResponse } from './types.ts';

/** Registries without pages send all tags at once. */
const MAX_PAGE = 32 * 1024 * 1024;
const MAX_PAGES = 10_000;
const PAGE = 1000;

/**
 * A repository's tags in the registry's order, page by page, each once. Throws `BAD_RESPONSE` for what is no list of
 * tags, for pages in a circle and for more than 10,000 of them, and the transport's errors.
 */
export async function* listTags(place: Place, signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
  const path = `/v2/${place.path}/tags/list`;
  const asked = new Set<string>();
  const seen = new Set<string>();
  let target: string | undefined = `${path}?n=${PAGE}`;
  while (target !== undefined) {
    asked.add(target);
    const request: RegistryRequest = {
      method: 'GET',
      target,
      headers: { accept: 'application/json' },
      scopes: scopesFor(place, 'pull'),
      answers: [200],
      signal,
    };
    const { response, bytes } = await requestWhole(place, request, MAX_PAGE);
    const tags = readPage(place, response, bytes!);
    const fresh = tags.filter((tag) => !seen.has(tag));
    for (const tag of fresh) {
      seen.add(tag);
      yield tag;
    }
    target = nextPage(place, response, path);
    // A full page without a link: some registries know `last` and forget to say so.
    if (target === undefined && tags.length === PAGE && fresh.length > 0) {
      target = `${path}?n=${PAGE}&last=${encodeURIComponent(tags.at(-1)!)}`;
    }
    if (target !== undefined && (asked.has(target) || asked.size >= MAX_PAGES)) {
      throw badResponse(place, response, 'sends pages of tags without an end', { got: `${asked.size} pages` });
    }
  }
}

function readPage(place: Place, response: RegistryResponse, body: Buffer): string[] {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    const html = contentType(response) === 'text/html';
    throw badResponse(place, response, 'sent no list of tags', { want: 'JSON', got: html ? 'a web page' : 'other' });
  }
  const tags = new Field(value, '', 'BAD_RESPONSE', `list of tags of ${place.name}`).get('tags').list();
  return tags.map((tag) => {
    const text = tag.string();
    if (!isTag(text)) throw tag.bad('a tag');
    return text;
  });
}
