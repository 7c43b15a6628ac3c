/** OCI distribution-spec v1.1.1 §Pulling manifests, `<name>`; 255 characters as clients bound it. */
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const MAX_NAME = 255;

/** The same, `<tag-or-digest>` as a tag. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** A repository's path on its registry: `library/debian`. */
export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME && NAME.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}
