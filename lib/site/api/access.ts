// Owns who may call what. Every request but those to `publicPaths` is authenticated before it is routed, so a route without a
// rule is not open. Each route then spreads one of the rules into its definition: the same object is what the OpenAPI
// document says and what is enforced.

import type { Context, MiddlewareHandler } from 'hono';

import { FarsideError } from '../../errors.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { authenticatePeer, type Caller } from '../../mirror/peers/peer.ts';
import { authenticate, bearerOf, type Principal } from '../auth.ts';
import { answerUnauthorized, forbidden } from './errors.ts';

/** Answered without a token. */
export const publicPaths: readonly string[] = ['/health', '/openapi.json'];

export type ApiEnv = { Variables: { principal: Principal; caller: Caller } };

export const securitySchemes = {
  admin: { type: 'http', scheme: 'bearer', description: 'A token with scope `admin`.' },
  client: { type: 'http', scheme: 'bearer', description: 'A token with scope `pool:<name>`, for that pool only.' },
  peer: { type: 'http', scheme: 'bearer', description: 'The key of a registered peer of the pool.' },
  bootstrap: { type: 'http', scheme: 'bearer', description: 'The key in a bootstrap token of the pool.' },
} as const;

/** What `authenticatePeers` sees to; anything else that begins with /peer is nobody's. */
const peerPath = /^\/peer\/v1\/pools\/[^/]+\//;

/** For everything but the peer endpoints. */
export function authenticateUsers(deps: MirrorDeps, adminTokenHash: string): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    if (publicPaths.includes(c.req.path) || peerPath.test(c.req.path)) return next();
    const token = bearerOf(c.req.header('authorization'));
    const principal = token === undefined ? undefined : await authenticate(deps, adminTokenHash, token);
    if (!principal) return answerUnauthorized(c);
    c.set('principal', principal);
    return next();
  };
}

/** For /peer/v1/pools/{pool}/…: keys are known per pool. */
export function authenticatePeers(deps: MirrorDeps, adminTokenHash: string): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const key = bearerOf(c.req.header('authorization'));
    if (key === undefined) return answerUnauthorized(c);
    const caller = await callerOf(deps, c, key);
    if (caller) {
      c.set('caller', caller);
      return next();
    }
    if (await authenticate(deps, adminTokenHash, key))
      throw forbidden("this is the peers' side of the API: a user's token is of no use here");
    return answerUnauthorized(c);
  };
}

/** An importer learns that there is no such pool; others only that they are unknown. */
async function callerOf(deps: MirrorDeps, c: Context, key: string): Promise<Caller | undefined> {
  try {
    return await authenticatePeer(deps, c.req.param('pool') ?? '', key);
  } catch (error) {
    const hide =
      error instanceof FarsideError &&
      (error.code === 'ENOENT' || error.code === 'EINVAL') &&
      !c.req.path.endsWith('/register');
    if (hide) return undefined;
    throw error;
  }
}

type Rule = { security: Record<string, string[]>[]; middleware: MiddlewareHandler<ApiEnv> };

const rule = (schemes: (keyof typeof securitySchemes)[], allows: (c: Context<ApiEnv>) => string | undefined): Rule => ({
  security: schemes.map((scheme) => ({ [scheme]: [] })),
  middleware: async (c, next) => {
    const refusal = allows(c);
    if (refusal !== undefined) throw forbidden(refusal);
    await next();
  },
});

const userRule = (
  poolOf: (c: Context<ApiEnv>) => string | undefined,
  schemes: (keyof typeof securitySchemes)[],
): Rule =>
  rule(schemes, (c) => {
    const principal = c.get('principal');
    if (principal?.kind === 'admin') return undefined;
    const pool = poolOf(c);
    return principal !== undefined && pool !== undefined && principal.pool === pool
      ? undefined
      : 'this token may not do that';
  });

/** Spread into a route's definition. */
export const access = {
  /** No token at all; the path must be in `publicPaths`. */
  public: { security: [] },
  admin: userRule(() => undefined, ['admin']),
  /** Admin, or a token of the pool in the path. */
  client: userRule((c) => c.req.param('pool'), ['client', 'admin']),
  /** Admin, or a token of the pool in the query; the whole site's level is the admin's. */
  level: userRule((c) => c.req.query('pool'), ['client', 'admin']),
  peer: rule(['peer'], (c) => (c.get('caller')?.kind === 'peer' ? undefined : 'only a registered peer may do that')),
  bootstrap: rule(['bootstrap'], (c) =>
    c.get('caller')?.kind === 'bootstrap' ? undefined : 'only the bearer of a bootstrap token may do that',
  ),
};
