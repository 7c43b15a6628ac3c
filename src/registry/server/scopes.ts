import type { Access, Action } from './authorize.ts';

/** An entry of a token's `access` claim. Docker's token specification, distribution v2.8 docs/spec/auth/jwt.md. */
export interface TokenAccess {
  type: string;
  name: string;
  actions: readonly string[];
}

const MAX_SCOPES = 64;
const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

/** The scope that a token needs for an access: `repository:library/debian:pull,push`; '' for the API's root. */
export function formatScope({ repository, action }: Access): string {
  if (action === 'catalog') return 'registry:catalog:*';
  if (repository === undefined) return '';
  return `repository:${repository}:${action === 'push' ? 'pull,push' : action}`;
}

/** What scopes ask for, spaces between them; those that are none are left out, as Docker's token servers do. */
export function parseScopes(scopes: readonly string[]): TokenAccess[] {
  const words = scopes.flatMap((scope) => scope.split(' ')).filter((word) => word !== '');
  const found: TokenAccess[] = [];
  for (const word of words.slice(0, MAX_SCOPES)) {
    // A name may have a port in it: the first colon and the last one count.
    const match = /^([a-z]+)(?:\([a-z0-9]+\))?:([^\s]{1,512}):([a-z,*]{1,64})$/.exec(word);
    if (match !== null) found.push({ type: match[1]!, name: match[2]!, actions: match[3]!.split(',') });
  }
  return found;
}

/** The part of what was asked that is allowed. */
export function grantScopes(asked: readonly TokenAccess[], permits: (access: Access) => boolean): TokenAccess[] {
  return asked.flatMap(({ type, name, actions }) => {
    if (type === 'registry' && name === 'catalog') {
      return permits({ action: 'catalog' }) ? [{ type, name, actions: ['*'] }] : [];
    }
    if (type !== 'repository') return [];
    const wanted = actions.includes('*') ? ACTIONS : ACTIONS.filter((action) => actions.includes(action));
    const granted = wanted.filter((action) => permits({ repository: name, action }));
    return granted.length === 0 ? [] : [{ type, name, actions: granted }];
  });
}

/** Whether a token's claim covers an access. */
export function coversAccess(claims: readonly TokenAccess[], { repository, action }: Access): boolean {
  if (action === 'catalog') return claims.some((c) => c.type === 'registry' && c.name === 'catalog' && may(c, '*'));
  if (repository === undefined) return true;
  return claims.some((c) => c.type === 'repository' && c.name === repository && may(c, action));
}

function may({ actions }: TokenAccess, action: string): boolean {
  return actions.includes(action) || actions.includes('*');
}
