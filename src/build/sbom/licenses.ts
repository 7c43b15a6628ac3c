import { hash } from 'node:crypto';

/** Those identifiers of SPDX's list that packages mostly have; others become references. */
const KNOWN: ReadonlyMap<string, string> = new Map(
  (
    '0BSD AFL-2.1 AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl ' +
    'Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 bzip2-1.0.6 CC0-1.0 ' +
    'CC-BY-3.0 CC-BY-4.0 CC-BY-SA-4.0 CDDL-1.0 CECILL-2.1 curl ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.2 FSFAP FSFUL FSFULLR ' +
    'FTL GFDL-1.1-or-later GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-only ' +
    'GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND ICU IJG ISC JSON LGPL-2.0-only ' +
    'LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later Libpng MIT MIT-0 MPL-1.1 ' +
    'MPL-2.0 MPL-2.0-no-copyleft-exception MS-PL NCSA OFL-1.1 OLDAP-2.8 OpenSSL PHP-3.01 PostgreSQL ' +
    'PSF-2.0 Python-2.0 Python-2.0.1 Ruby Sleepycat SMLNJ TCL Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 Vim ' +
    'W3C WTFPL X11 Zlib ZPL-2.1'
  )
    .split(' ')
    .map((id) => [id.toLowerCase(), id]),
);
const EXCEPTIONS: ReadonlyMap<string, string> = new Map(
  'Autoconf-exception-2.0 Autoconf-exception-3.0 Bison-exception-2.2 Classpath-exception-2.0 GCC-exception-3.1 GPL-CC-1.0 LLVM-exception OpenSSL-exception Libtool-exception'
    .split(' ')
    .map((id) => [id.toLowerCase(), id]),
);

/** Names of Debian's DEP 5 and other old ones. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['expat', 'MIT'],
  ['mit/expat', 'MIT'],
  ['mit license', 'MIT'],
  ['the mit license', 'MIT'],
  ['apache 2.0', 'Apache-2.0'],
  ['apache license 2.0', 'Apache-2.0'],
  ['apache license, version 2.0', 'Apache-2.0'],
  ['apache software license', 'Apache-2.0'],
  ['apache2', 'Apache-2.0'],
  ['asl 2.0', 'Apache-2.0'],
  ['asl-2.0', 'Apache-2.0'],
  ['artistic', 'Artistic-1.0-Perl'],
  ['perl', 'Artistic-1.0-Perl OR GPL-1.0-or-later'],
  ['psf', 'PSF-2.0'],
  ['cc0', 'CC0-1.0'],
]);
// 'BSD' alone does not say which: it stays a reference.
const VAGUE = new Set(['bsd', 'gpl', 'lgpl', 'public-domain']);

/**
 * An SPDX licence expression (SPDX 2.3 annex D) of what a package says; what is none becomes a `LicenseRef-` whose
 * text goes into `references`. 'NOASSERTION' where it says nothing. Of a list all hold.
 */
export function licenseExpression(
  text: string | readonly string[] | undefined,
  references: Map<string, string>,
): string {
  if (typeof text === 'object') return joinAll(text.map((one) => licenseExpression(one, references)));
  const said = text?.trim().replace(/\s+/g, ' ') ?? '';
  if (said === '' || /^(?:unknown|none|unlicensed)$/i.test(said)) return 'NOASSERTION';
  const whole = singleName(said);
  if (whole !== undefined) return whole;
  return parseExpression(said) ?? reference(said, references);
}

/** All of them hold. */
function joinAll(expressions: readonly string[]): string {
  const all = [...new Set(expressions.filter((expression) => expression !== 'NOASSERTION'))].sort();
  if (all.length < 2) return all[0] ?? 'NOASSERTION';
  return all.map((expression) => (/ (?:AND|OR) /.test(expression) ? `(${expression})` : expression)).join(' AND ');
}

function reference(text: string, references: Map<string, string>): string {
  const word = text.replace(/[^A-Za-z0-9.-]+/g, '-').replace(/^-|-$/g, '');
  const id = `LicenseRef-${word.length > 0 && word.length <= 40 ? word : hash('sha256', text, 'hex').slice(0, 16)}`;
  references.set(id, text);
  return id;
}

function singleName(word: string): string | undefined {
  const lower = word.toLowerCase();
  if (VAGUE.has(lower)) return undefined;
  const known = KNOWN.get(lower) ?? OTHER_NAMES.get(lower);
  if (known !== undefined) return known;
  // GPL-2+, GPL-2.0, LGPLv2.1+, GPL-3.0-or-later and their kin.
  const [, family, version, later] =
    /^(a?gpl|lgpl|gfdl)(?:-?v?)([0-9](?:\.[0-9])?)(\+|-only|-or-later)?$/.exec(lower) ?? [];
  if (family === undefined) return undefined;
  const number = version!.includes('.') ? version! : `${version}.0`;
  return KNOWN.get(`${family}-${number}-${later === '+' || later === '-or-later' ? 'or-later' : 'only'}`);
}

type Token = '(' | ')' | 'AND' | 'OR' | 'WITH' | { id: string };

/** AND, OR, WITH and parentheses over names that are all known; undefined for anything else. */
function parseExpression(text: string): string | undefined {
  const tokens: Token[] = [];
  for (const [word] of text.matchAll(/[()]|[^\s()]+/g)) {
    const upper = word.toUpperCase();
    if (upper === 'AND' || upper === 'OR' || upper === 'WITH') tokens.push(upper);
    else if (word === '(' || word === ')') tokens.push(word);
    else tokens.push({ id: word.replace(/,$/, '') });
  }
  if (tokens.length > 400) return undefined;
  let at = 0;
  const term = (): string | undefined => {
    const token = tokens[at++];
    if (token === '(') {
      const inner = chain();
      return tokens[at++] === ')' && inner !== undefined ? `(${inner})` : undefined;
    }
    if (typeof token !== 'object') return undefined;
    const id = singleName(token.id);
    if (id === undefined || tokens[at] !== 'WITH') return id?.includes(' ') ? `(${id})` : id;
    at++;
    const exception = tokens[at++];
    const name = typeof exception === 'object' ? EXCEPTIONS.get(exception.id.toLowerCase()) : undefined;
    return name === undefined ? undefined : `${id} WITH ${name}`;
  };
  const chain = (): string | undefined => {
    let out = term();
    while (out !== undefined && (tokens[at] === 'AND' || tokens[at] === 'OR')) {
      const operator = tokens[at++] as string;
      const next = term();
      out = next === undefined ? undefined : `${out} ${operator} ${next}`;
    }
    return out;
  };
  const whole = chain();
  return at === tokens.length ? whole : undefined;
}
