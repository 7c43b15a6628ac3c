import { ImagoError } from '../../core/errors.ts';
import { readDirective } from '../../formats/dockerfile/directives.ts';
import { nearestName, withSuggestion } from '../../formats/dockerfile/errors.ts';
import { RULES } from './rules.ts';

/** Which rules count: the `check` directive, or BUILDKIT_DOCKERFILE_CHECK. */
export interface CheckConfig {
  skipAll: boolean;
  skip: ReadonlySet<string>;
  experimentalAll: boolean;
  experimental: ReadonlySet<string>;
  /** Any warning fails the build. */
  error: boolean;
}

const NO_CHECK_CONFIG: CheckConfig = {
  skipAll: false,
  skip: new Set(),
  experimentalAll: false,
  experimental: new Set(),
  error: false,
};

const KEYS = ['skip', 'experimental', 'error'];
const MOST_OPTIONS = 3;

/**
 * Parses `skip=NAME,NAME;experimental=all;error=true` (docs.docker.com/build/checks/). Names that no rule has are
 * taken: another version may have them. Throws `BAD_CHECK_OPTION`.
 */
export function parseCheckConfig(text: string): CheckConfig {
  const config = { ...NO_CHECK_CONFIG };
  if (text.trim() === '') return config;
  const parts = text.trim().split(';');
  for (const part of [...parts.slice(0, MOST_OPTIONS - 1), ...joinRest(parts)]) {
    const equals = part.indexOf('=');
    const key = (equals < 0 ? part : part.slice(0, equals)).trim();
    const value = part.slice(equals + 1).trim();
    if (equals < 0 || !KEYS.includes(key)) {
      const problem = withSuggestion(`invalid check option ${JSON.stringify(key)}`, key, KEYS);
      throw new ImagoError('BAD_CHECK_OPTION', problem, { want: 'skip=RULE,…;error=true' });
    }
    if (key === 'error') config.error = parseBoolean(value);
    else if (value === 'all') config[`${key as 'skip' | 'experimental'}All`] = true;
    else config[key as 'skip' | 'experimental'] = new Set(value.split(',').map((name) => name.trim()));
  }
  return config;
}

/** More separators than options belong to the last one. */
function joinRest(parts: readonly string[]): string[] {
  return parts.length < MOST_OPTIONS ? parts.slice(MOST_OPTIONS - 1) : [parts.slice(MOST_OPTIONS - 1).join(';')];
}

function parseBoolean(value: string): boolean {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(value)) return false;
  throw new ImagoError('BAD_CHECK_OPTION', 'invalid check option "error"', { want: 'true or false', got: value });
}

/** With what a `# check=skip=…` right above an instruction adds for that one; `error` and wrong options do not count. */
export function withComments(config: CheckConfig, comments: readonly string[]): CheckConfig {
  for (const comment of comments) {
    const directive = readDirective(comment, '');
    if (directive?.name !== 'check') continue;
    let own: CheckConfig;
    try {
      own = parseCheckConfig(directive.value.split(' ', 1)[0]!);
    } catch {
      return config;
    }
    return {
      skipAll: config.skipAll || own.skipAll,
      skip: new Set([...config.skip, ...own.skip]),
      experimentalAll: config.experimentalAll || own.experimentalAll,
      experimental: new Set([...config.experimental, ...own.experimental]),
      error: config.error,
    };
  }
  return config;
}

/** Names in a configuration that no rule has, each with the nearest one. */
export function unknownRules({ skip, experimental }: CheckConfig): string[] {
  const names = Object.keys(RULES);
  return [...skip, ...experimental]
    .filter((name) => name !== '' && !names.includes(name))
    .map((name) => {
      const near = nearestName(name, names) ?? names.find((known) => known.toLowerCase() === name.toLowerCase());
      return near === undefined ? name : `${name} (did you mean ${near}?)`;
    });
}
