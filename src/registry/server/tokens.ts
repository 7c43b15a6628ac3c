import { createPublicKey, randomUUID, X509Certificate } from 'node:crypto';
import { createLocalJWKSet, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { ImagoError } from '../../core/errors.ts';
import type { TokenAccess } from './scopes.ts';
import { WatchedFile } from './watched-file.ts';

/** Seconds that clocks may differ. */
const CLOCK_TOLERANCE = 30;
/** No HS*: a public key must never be taken for a secret. */
const ASYMMETRIC = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const MAX_TOKEN = 12 << 10;
const MAX_REMEMBERED = 2000;
const MIN_KEY_BYTES = 32;

export interface VerifiedToken {
  /** Undefined for anonymous. */
  user: string | undefined;
  access: readonly TokenAccess[];
}

/** Undefined for a token that is not (or no longer) good, whatever the reason. */
export interface TokenVerifier {
  verify(token: string): Promise<VerifiedToken | undefined>;
}

export interface IssuedToken {
  token: string;
  /** Seconds. */
  expiresIn: number;
  issuedAt: Date;
}

/** This registry's own tokens: HS256 under a secret that all replicas have. */
export class TokenIssuer implements TokenVerifier {
  readonly #key: Uint8Array;
  readonly #service: string;
  readonly #lifetime: number;
  readonly #verify: (token: string) => Promise<VerifiedToken | undefined>;

  /** `lifetime` in seconds. Throws `WEAK_KEY` for a key below 32 bytes. */
  constructor({ key, service, lifetime }: { key: Uint8Array; service: string; lifetime: number }) {
    if (key.length < MIN_KEY_BYTES) {
      throw new ImagoError('WEAK_KEY', 'the key of tokens is too short', {
        want: `≥ ${MIN_KEY_BYTES} bytes`,
        got: key.length,
        remedy: "make one with 'openssl rand -base64 48'",
      });
    }
    this.#key = key;
    this.#service = service;
    this.#lifetime = lifetime;
    const options = { issuer: service, audience: service, algorithms: ['HS256'], requiredClaims: ['exp'] };
    this.#verify = remembering(async (token) => (await jwtVerify(token, this.#key, options)).payload);
  }

  async issue(user: string | undefined, access: readonly TokenAccess[]): Promise<IssuedToken> {
    const issuedAt = new Date();
    const seconds = Math.floor(issuedAt.getTime() / 1000);
    const token = await new SignJWT({ access })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setIssuer(this.#service)
      .setSubject(user ?? '')
      .setAudience(this.#service)
      .setIssuedAt(seconds)
      .setNotBefore(seconds - CLOCK_TOLERANCE)
      .setExpirationTime(seconds + this.#lifetime)
      .setJti(randomUUID())
      .sign(this.#key);
    return { token, expiresIn: this.#lifetime, issuedAt };
  }

  verify(token: string): Promise<VerifiedToken | undefined> {
    return this.#verify(token);
  }
}

/** Tokens of a token server elsewhere: its keys as a JWKS file, or PEM files (public keys, certificates). */
export function openTokenVerifier(options: {
  issuer: string;
  service: string;
  jwks: string | undefined;
  keys: readonly string[];
  onProblem?: (error: Error) => void;
}): TokenVerifier {
  const { issuer, service, onProblem } = options;
  const watch = onProblem === undefined ? {} : { onProblem };
  const checks = {
    issuer,
    audience: service,
    algorithms: ASYMMETRIC,
    clockTolerance: CLOCK_TOLERANCE,
    requiredClaims: ['exp'],
  };
  const set =
    options.jwks === undefined
      ? undefined
      : new WatchedFile(options.jwks, (text) => parseJwks(text, options.jwks!), watch);
  const keys = options.keys.map((path) => new WatchedFile(path, (text) => parsePublicKey(text, path), watch));
  const verify = remembering(async (token) => {
    let failure: unknown = new Error('no key');
    for (const key of keys) {
      try {
        return (await jwtVerify(token, key.read(), checks)).payload;
      } catch (error) {
        failure = error;
      }
    }
    if (set === undefined) throw failure;
    return (await jwtVerify(token, set.read(), checks)).payload;
  });
  return { verify };
}

function parseJwks(text: string, path: string): ReturnType<typeof createLocalJWKSet> {
  try {
    return createLocalJWKSet(JSON.parse(text));
  } catch (error) {
    throw badKey(path, 'is no JSON Web Key Set (RFC 7517 §5)', error);
  }
}

function parsePublicKey(text: string, path: string): ReturnType<typeof createPublicKey> {
  try {
    return text.includes('BEGIN CERTIFICATE') ? new X509Certificate(text).publicKey : createPublicKey(text);
  } catch (error) {
    throw badKey(path, 'holds neither a public key nor a certificate in PEM', error);
  }
}

function badKey(path: string, problem: string, cause: unknown): ImagoError {
  return new ImagoError('BAD_KEY', `${path} ${problem}`, { cause });
}

/** Verifies each token once: a client shows the same one with every request. */
function remembering(verify: (token: string) => Promise<JWTPayload>): TokenVerifier['verify'] {
  const known = new Map<string, { token: VerifiedToken; until: number }>();
  return async (text) => {
    if (text.length > MAX_TOKEN) return undefined;
    const found = known.get(text);
    if (found !== undefined) {
      if (found.until > Date.now()) return found.token;
      known.delete(text);
    }
    try {
      const claims = await verify(text);
      const token = { user: claims.sub || undefined, access: parseAccess(claims.access) };
      if (known.size >= MAX_REMEMBERED) known.delete(known.keys().next().value!);
      known.set(text, { token, until: claims.exp! * 1000 });
      return token;
    } catch (error) {
      // Keys of another kind than the token's algorithm are a TypeError of the library.
      if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  };
}

function parseAccess(claim: unknown): TokenAccess[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: unknown) => {
    const { type, name, actions } = (entry ?? {}) as Record<string, unknown>;
    if (typeof type !== 'string' || typeof name !== 'string' || !Array.isArray(actions)) return [];
    return [{ type, name, actions: actions.filter((action) => typeof action === 'string') }];
  });
}
