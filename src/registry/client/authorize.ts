import type { IncomingHttpHeaders } from 'node:http';
import { abortable } from '../../core/abortable.ts';
import { parseChallenges } from '../wire/challenge.ts';
import type { RequestContext } from './errors.ts';
import { coversScopes, formatScopes, parseScopes } from './scopes.ts';
import type { Session } from './session.ts';
import { formatBasic, parseRealm, requestToken, type Token } from './tokens.ts';
import type { Credentials } from './types.ts';

interface BearerScheme {
  realm: URL;
  service: string | undefined;
}

interface Grant {
  scopes: ReadonlyMap<string, ReadonlySet<string>>;
  token: Promise<Token>;
  /** Infinity while it is under way. */
  freshUntil: number;
  text: string | undefined;
}

interface AuthorizerSettings {
  session: Session;
  registry: string;
  insecure: boolean;
  findCredentials: () => Promise<Credentials | undefined>;
  /** Ask the token server for a refresh token, too: a login. */
  offline?: boolean;
}

/** Tokens that are kept; a copy of many repositories asks for one each. */
const MAX_GRANTS = 256;
const MAX_CHALLENGE_SCOPES = 16;

/** What one host wants to see before it answers, learnt from its 401s, and the tokens for it. */
export class Authorizer {
  /** A refresh token that came with a token, where one was asked for. */
  refreshToken: string | undefined;
  readonly #settings: AuthorizerSettings;
  #scheme: 'none' | 'basic' | BearerScheme = 'none';
  #credentials: Promise<Credentials | undefined> | undefined;
  #known: Credentials | undefined;
  #grants: Grant[] = [];

  constructor(settings: AuthorizerSettings) {
    this.#settings = settings;
  }

  /** The Authorization header for a request; undefined where none is known to be wanted. Requests share tokens. */
  async header(
    scopes: readonly string[],
    about: { method: string; url: URL; reference?: string; scopes?: readonly string[] },
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const scheme = this.#scheme;
    if (scheme === 'none') return undefined;
    const credentials = await this.#findCredentials();
    if (scheme === 'basic') {
      return credentials === undefined || credentials.password === '' ? undefined : formatBasic(credentials);
    }
    if (credentials?.registryToken !== undefined) return `Bearer ${credentials.registryToken}`;
    return `Bearer ${(await this.#grant(scheme, scopes, credentials, about, signal)).text}`;
  }

  /**
   * Takes in a 401. True where another try may succeed: with the scheme that was learnt, or with a fresh token and what
   * scopes the registry says are missing. Throws `BAD_TOKEN_REALM`.
   */
  async learn(headers: IncomingHttpHeaders, sent: string | undefined, scopes: string[]): Promise<boolean> {
    const challenges = parseChallenges(headers['www-authenticate']);
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.realm);
    if (bearer !== undefined) {
      const { registry, insecure } = this.#settings;
      const { service, scope } = bearer.parameters;
      this.#scheme = { realm: parseRealm(bearer.parameters.realm!, registry, insecure), service };
      this.#grants = this.#grants.filter(({ text }) => text === undefined || `Bearer ${text}` !== sent);
      const missing = (scope ?? '')
        .split(' ')
        .filter((name) => name !== '')
        .slice(0, MAX_CHALLENGE_SCOPES);
      const union = formatScopes(parseScopes([...scopes, ...missing]));
      scopes.splice(0, scopes.length, ...union);
      return sent === undefined || (await this.#findCredentials())?.registryToken === undefined;
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic')) return false;
    this.#scheme = 'basic';
    return sent === undefined && (await this.#findCredentials()) !== undefined;
  }

  /** What errors must not repeat. */
  secrets(): string[] {
    const { password, identityToken, registryToken } = this.#known ?? {};
    const basic = this.#known === undefined ? undefined : formatBasic(this.#known).slice('Basic '.length);
    const tokens = this.#grants.map(({ text }) => text);
    return [basic, password, identityToken, registryToken, ...tokens].filter((text) => text !== undefined);
  }

  /** A 401 came. */
  get asked(): boolean {
    return this.#scheme !== 'none';
  }

  /** Shows the password without having been asked for it. */
  assumeBasic(): void {
    this.#scheme = 'basic';
  }

  async #findCredentials(): Promise<Credentials | undefined> {
    this.#credentials ??= this.#settings.findCredentials();
    this.#known = await this.#credentials;
    return this.#known;
  }

  async #grant(
    scheme: BearerScheme,
    wanted: readonly string[],
    credentials: Credentials | undefined,
    about: { method: string; url: URL; reference?: string; scopes?: readonly string[] },
    signal: AbortSignal | undefined,
  ): Promise<Token> {
    const scopes = parseScopes(wanted);
    const now = performance.now();
    this.#grants = this.#grants.filter(({ freshUntil }) => freshUntil > now).slice(-MAX_GRANTS);
    const known = this.#grants.find((grant) => coversScopes(grant.scopes, scopes));
    if (known !== undefined) return known.token;
    const { session, registry, insecure, offline } = this.#settings;
    const context: Omit<RequestContext, 'url' | 'method'> = {
      registry,
      reference: about.reference,
      about,
      login: offline,
      secrets: this.secrets(),
    };
    const request = { ...scheme, scopes: formatScopes(scopes), credentials, insecure, offline, context };
    // Not the signal of the one request that happened to be first: others wait for the same token.
    const token = requestToken(session, { ...request, signal: session.options.signal });
    const grant: Grant = { scopes, token, freshUntil: Number.POSITIVE_INFINITY, text: undefined };
    this.#grants.push(grant);
    token.then(
      ({ text, freshUntil, refreshToken }) => {
        Object.assign(grant, { text, freshUntil });
        this.refreshToken = refreshToken ?? this.refreshToken;
      },
      () => {
        this.#grants = this.#grants.filter((other) => other !== grant);
      },
    );
    return abortable(token, signal);
  }
}
