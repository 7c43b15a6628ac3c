import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { createAuthorize } from './access-control.ts';
import type { Authorize } from './authorize.ts';
import type { AuthSettings } from './config.ts';
import { PasswordFile } from './htpasswd.ts';
import { compileRules } from './rules.ts';
import { readSettingsFile } from './settings-file.ts';
import type { TokenEndpoint } from './token-endpoint.ts';
import { openTokenVerifier, TokenIssuer } from './tokens.ts';

/** Where this server's own token end point is. */
export const TOKEN_PATH = '/token';

/** What the settings of `auth` come to. */
export interface Door {
  authorize: Authorize;
  /** Present where this server gives tokens itself. */
  tokens: TokenEndpoint | undefined;
}

/**
 * Opens what the settings of `auth` name. `origin` is the server's URL as the client of a request sees it.
 * `onProblem` is told when a file changes into something that cannot be used.
 */
export function openDoor(
  settings: AuthSettings,
  { origin, onProblem }: { origin: (headers: IncomingHttpHeaders) => string; onProblem: (error: Error) => void },
): Door {
  const passwords = settings.htpasswd === undefined ? undefined : new PasswordFile(settings.htpasswd, onProblem);
  const permits = compileRules({ groups: settings.groups, rules: settings.rules, anonymous: settings.anonymousPull });
  const common = { permits, ...(passwords === undefined ? {} : { passwords }) };
  const { jwt } = settings;
  if (jwt !== undefined) {
    const service = jwt.service ?? settings.service;
    const verifier = openTokenVerifier({ ...jwt, service, onProblem });
    return { authorize: createAuthorize({ ...common, verifier, service, realm: () => jwt.realm }), tokens: undefined };
  }
  const { service } = settings;
  const anonymous = settings.anonymousPull.length > 0;
  // Docker pulls without a password only where it is sent for a token.
  if (settings.tokens === undefined && !anonymous) {
    return { authorize: createAuthorize({ ...common, service }), tokens: undefined };
  }
  const keyFile = settings.tokens?.keyFile;
  const key = keyFile === undefined ? randomBytes(48) : Buffer.from(readSettingsFile(keyFile).trim());
  const issuer = new TokenIssuer({ key, service, lifetime: Math.round((settings.tokens?.lifetime ?? 300_000) / 1000) });
  return {
    authorize: createAuthorize({ ...common, issuer, service, realm: (headers) => origin(headers) + TOKEN_PATH }),
    tokens: { ...common, issuer, service, anonymous },
  };
}
