/** Actions by resource: `repository:library/debian` → pull, push. */
type Scopes = ReadonlyMap<string, ReadonlySet<string>>;

/** Distribution token scopes, `type:name:action,action` (a name may hold colons). What is no scope is left out. */
export function parseScopes(scopes: readonly string[]): Scopes {
  const found = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const [, resource, actions] = /^([^:\s]+:[^\s]+):([^:\s]+)$/.exec(scope) ?? [];
    if (resource === undefined) continue;
    const set = found.get(resource) ?? new Set<string>();
    for (const action of actions!.split(',')) if (action !== '') set.add(action);
    found.set(resource, set);
  }
  return found;
}

/** One scope a resource, sorted: equal for what asks for the same. */
export function formatScopes(scopes: Scopes): string[] {
  return [...scopes].map(([resource, actions]) => `${resource}:${[...actions].sort().join(',')}`).sort();
}

export function coversScopes(has: Scopes, wants: Scopes): boolean {
  return [...wants].every(([resource, actions]) => [...actions].every((action) => has.get(resource)?.has(action)));
}

/** Nothing but reading, and at least one thing to read. */
export function isPull(scopes: readonly string[]): boolean {
  const wanted = parseScopes(scopes);
  return wanted.size > 0 && [...wanted.values()].every((actions) => actions.size === 1 && actions.has('pull'));
}
