import type { Access, Action } from './authorize.ts';

/** One line of the rules: who may do what where. Nothing is allowed that no rule allows. */
export interface Rule {
  /** User names; `*` is everyone who logged in. */
  users: readonly string[];
  groups: readonly string[];
  /** Globs: `*` within a part of the name, `**` across parts. */
  repositories: readonly string[];
  actions: readonly Action[];
}

export interface Rules {
  /** Group → users. */
  groups: Readonly<Record<string, readonly string[]>>;
  /** Undefined: whoever logged in may do everything. */
  rules: readonly Rule[] | undefined;
  /** Globs of what anybody may pull without logging in. */
  anonymous: readonly string[];
}

/** Whether rules allow an access; `user` undefined is anonymous. */
export type Permits = (user: string | undefined, access: Access) => boolean;

export function compileRules({ groups, rules, anonymous }: Rules): Permits {
  const open = anonymous.map(compileGlob);
  const compiled = rules?.map((rule) => ({
    everyone: rule.users.includes('*'),
    users: new Set([...rule.users, ...rule.groups.flatMap((group) => groups[group] ?? [])]),
    globs: rule.repositories.map(compileGlob),
    actions: new Set(rule.actions),
  }));
  return (user, { repository, action }) => {
    if (action === 'pull' && repository !== undefined && open.some((glob) => glob.test(repository))) return true;
    if (user === undefined) return false;
    if (compiled === undefined || (action === 'pull' && repository === undefined)) return true;
    return compiled.some(
      (rule) =>
        rule.actions.has(action) &&
        (rule.everyone || rule.users.has(user)) &&
        (repository === undefined || rule.globs.some((glob) => glob.test(repository))),
    );
  };
}

/** `team/*` is team/app but not team/app/web, `team/**` is both and not team itself. */
function compileGlob(glob: string): RegExp {
  const source = glob
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, (stars) => (stars.length > 1 ? '.*' : '[^/]*'));
  return new RegExp(`^${source}$`);
}
