// Owns who a caller is: bearer tokens of the site's own users (admin, client of a pool). Peers are known to lib/mirror.
//
// A token is `farside_<id>_<43 base64url digits: 256 random bits>`; the id finds its record, of which only a SHA-256 is stored
// (a 256-bit token needs no slow hash). Hashes are compared in constant time. Documents are believed for `limits.cacheMs`
// (5 s), so that packs do not cost a read each: **a revoked token works for up to that long**, per process.
// The admin token of the site's configuration may be any text; it is revoked by changing the configuration.

import { createHash, timingSafeEqual } from 'node:crypto';

import { FarsideError } from '../errors.ts';
import type { DocumentDeps } from '../mirror/limits.ts';
import { readSite, recentSite, updateSite, type Scope, type SiteDocument, type TokenRecord } from './site-document.ts';

export type Principal = { kind: 'admin' } | { kind: 'client'; pool: string };

export const tokensMax = 1000;
const tokenPattern = /^farside_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;
const tokenCharsMax = 512;

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
export const tokenHash = (token: string): string => sha256(token).toString('hex');

/** `hash`: SHA-256, hex. */
function matches(token: string, hash: string): boolean {
  const stored = Buffer.from(hash, 'hex');
  const shown = sha256(token);
  return stored.length === shown.length && timingSafeEqual(stored, shown);
}

/** The bearer token of an Authorization header. */
export function bearerOf(header: string | undefined): string | undefined {
  const token = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i.exec(header ?? '')?.[1];
  return token !== undefined && token.length <= tokenCharsMax ? token : undefined;
}

/** Asks no document: also for a site that cannot start. */
export const isConfiguredAdmin = (adminTokenHash: string, token: string): boolean => matches(token, adminTokenHash);

/** Undefined: nobody we know. */
export async function authenticate(
  deps: DocumentDeps,
  adminTokenHash: string,
  token: string,
): Promise<Principal | undefined> {
  if (isConfiguredAdmin(adminTokenHash, token)) return { kind: 'admin' };
  if (!tokenPattern.test(token)) return undefined;
  const record = recordOf(await recentSite(deps), token) ?? recordOf(await readSite(deps), token);
  if (!record || (record.expiresAtMs !== undefined && record.expiresAtMs <= deps.clock.nowMs())) return undefined;
  return record.scope === 'admin' ? { kind: 'admin' } : { kind: 'client', pool: record.scope.pool };
}

function recordOf(site: SiteDocument, token: string): TokenRecord | undefined {
  const id = tokenPattern.exec(token)?.[1];
  return site.tokens.find((record) => record.id === id && matches(token, record.hash));
}

export type NewToken = { id: string; token: string };

/** The token's text is answered here and never again. ENOENT: no such pool. ENOSPC: too many tokens. */
export async function createToken(deps: DocumentDeps, scope: Scope, expiresAtMs?: number): Promise<NewToken> {
  const id = Buffer.from(deps.random.bytes(8)).toString('hex');
  const token = `farside_${id}_${Buffer.from(deps.random.bytes(32)).toString('base64url')}`;
  const base = { id, hash: tokenHash(token), scope, createdAtMs: deps.clock.nowMs() };
  const record: TokenRecord = expiresAtMs === undefined ? base : { ...base, expiresAtMs };
  await updateSite(deps, (site) => {
    if (scope !== 'admin' && !site.pools.includes(scope.pool))
      throw new FarsideError('ENOENT', `error opening pool '${scope.pool}'`);
    const living = site.tokens.filter((one) => one.expiresAtMs === undefined || one.expiresAtMs > deps.clock.nowMs());
    if (living.length >= tokensMax)
      throw new FarsideError('ENOSPC', `this site has ${tokensMax} tokens already: remove some`);
    return { ...site, tokens: [...living, record] };
  });
  return { id, token };
}

/** Repeatable; ENOENT when there is no such token. */
export async function removeToken(deps: DocumentDeps, id: string): Promise<void> {
  await updateSite(deps, (site) => {
    const tokens = site.tokens.filter((record) => record.id !== id);
    if (tokens.length === site.tokens.length) throw new FarsideError('ENOENT', `token ${id} does not exist`);
    return { ...site, tokens };
  });
}

export type TokenListing = { id: string; scope: string; created_at: string; expires_at?: string };

export async function listTokens(deps: DocumentDeps): Promise<TokenListing[]> {
  return (await readSite(deps)).tokens.map((record) => ({
    id: record.id,
    scope: scopeText(record.scope),
    created_at: new Date(record.createdAtMs).toISOString(),
    ...(record.expiresAtMs === undefined ? {} : { expires_at: new Date(record.expiresAtMs).toISOString() }),
  }));
}

/** `admin` or `pool:<name>`. */
export const scopeText = (scope: Scope): string => (scope === 'admin' ? 'admin' : `pool:${scope.pool}`);

export function parseScope(text: string): Scope {
  if (text === 'admin') return 'admin';
  if (text.startsWith('pool:') && text.length > 5) return { pool: text.slice(5) };
  throw new FarsideError('EINVAL', `invalid scope '${text}': use 'admin' or 'pool:<pool-name>'`);
}
