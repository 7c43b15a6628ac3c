/** One target of a Link header. */
export interface Link {
  /** As it stands there: often relative to what was asked for. */
  url: string;
  /** Relation types, as `next`; lower case, empty where none is given. */
  rel: string;
}

const MAX_LINKS = 32;
// One pass, no nested repetition: the header is somebody else's.
const LINK = /<([^<>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+(?:\s*=\s*(?:"[^"]*"|[^\s",;<>]*))?)*)/g;
const PARAMETER = /;\s*([\w!#$&+.^`|~*-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s",;<>]*)))?/g;

/** A Link header (RFC 8288 §3), several values included. What is malformed is left out; never throws. */
export function parseLink(header: string): Link[] {
  const out: Link[] = [];
  for (const match of header.slice(0, 16 * 1024).matchAll(LINK)) {
    const rel = [...match[2]!.matchAll(PARAMETER)].find((parameter) => parameter[1]!.toLowerCase() === 'rel');
    out.push({ url: match[1]!.trim(), rel: (rel?.[2] ?? rel?.[3] ?? '').toLowerCase() });
    if (out.length === MAX_LINKS) break;
  }
  return out;
}

/** `</v2/a/tags/list?n=2&last=b>; rel="next"`. The URL has no angle brackets (a URL's own encoding sees to it). */
export function formatLink(link: Link): string {
  return `<${link.url}>; rel="${link.rel}"`;
}
