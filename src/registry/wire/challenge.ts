/** One challenge of a WWW-Authenticate header: the scheme in lower case, parameters by their lower-case names. */
export interface Challenge {
  scheme: string;
  parameters: Record<string, string>;
}

/** Longer headers are cut: a challenge has a realm, a service and some scopes. */
const MAX_HEADER = 16 * 1024;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BLANKS = /[ \t]*/y;

/**
 * The challenges of a WWW-Authenticate header (several headers joined by commas), RFC 9110 §11.6.1. What cannot be read
 * ends the list: challenges before it are returned. A token68 is the parameter `''`.
 */
export function parseChallenges(header: string | undefined): Challenge[] {
  const text = (header ?? '').slice(0, MAX_HEADER);
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text) ?? undefined;
    if (match !== undefined) at += match[0].length;
    return match;
  };
  for (;;) {
    do take(BLANKS);
    while (text[at] === ',' && ++at > 0);
    const word = take(TOKEN)?.[0];
    if (word === undefined) return challenges;
    const afterWord = at;
    take(BLANKS);
    const current = challenges.at(-1);
    if (text[at] !== '=' || current === undefined) {
      const challenge: Challenge = { scheme: word.toLowerCase(), parameters: Object.create(null) };
      challenges.push(challenge);
      // `Negotiate YWJj==`: but the word before a '=' with a value behind it is a parameter's name.
      const token = at > afterWord ? take(TOKEN68) : undefined;
      if (token !== undefined) challenge.parameters[''] = token[0];
      continue;
    }
    at++;
    take(BLANKS);
    const value = text[at] === '"' ? take(QUOTED)?.[1]?.replace(/\\(.)/g, '$1') : take(TOKEN)?.[0];
    if (value === undefined) return challenges;
    current.parameters[word.toLowerCase()] ??= value;
  }
}

/** One challenge as a WWW-Authenticate header; every value is quoted, as clients of registries expect it. */
export function formatChallenge(scheme: string, parameters: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`);
  return pairs.length === 0 ? scheme : `${scheme} ${pairs.join(',')}`;
}
