// Owns the assembly of a site's HTTP API: order of middleware, all routes, the OpenAPI document.
//
// Order matters: security headers wrap everything, every request is authenticated before it is routed and before a byte of its
// body is read, and bodies are bounded.

import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';

import { storePath } from '../../bucket/http-protocol.ts';
import { FarsideError } from '../../errors.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import type { SiteConfig } from '../config.ts';
import { version } from '../version.ts';
import { authenticatePeers, authenticateUsers, securitySchemes, type ApiEnv } from './access.ts';
import { answerError, errorBody } from './errors.ts';
import { cloneRoutes } from './routes-clones.ts';
import { configRoutes } from './routes-config.ts';
import { imageRoutes } from './routes-images.ts';
import { journalRoutes } from './routes-journal.ts';
import { lockRoutes } from './routes-locks.ts';
import { mirrorPoolRoutes } from './routes-mirror-pools.ts';
import { mirrorRoutes } from './routes-mirror.ts';
import { peerRoutes } from './routes-peer.ts';
import { poolRoutes } from './routes-pools.ts';
import { retentionRoutes } from './routes-retention.ts';
import { scheduleRoutes } from './routes-schedules.ts';
import { siteRoutes } from './routes-site.ts';
import { snapshotRoutes } from './routes-snapshots.ts';
import { statusRoutes } from './routes-status.ts';
import { trashRoutes } from './routes-trash.ts';
import { newApi, type Api } from './routing.ts';
import { storeRoutes } from './store.ts';
import { authorizeStore } from './store-policy.ts';

/** Of JSON bodies. The largest is a peer's list of 10,000 roots. */
export const jsonBytesMax = 4 * 1024 * 1024;

export type AppOptions = { deps: MirrorDeps; config: SiteConfig; log: (line: string) => void };

export function buildApp({ deps, config, log }: AppOptions): Api {
  const app = newApi();
  app.onError((error, c) => answerError(c, error, log));
  app.notFound((c) =>
    c.json(errorBody('ENOENT', 'no such endpoint: is the site of the same version as its caller?'), 404),
  );
  app.use(secureHeaders({ contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } }));
  app.use(async (c, next) => {
    await next();
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store');
  });
  app.use(authenticateUsers(deps, config.adminTokenHash));
  app.use('/peer/v1/pools/:pool/*', authenticatePeers(deps, config.adminTokenHash));
  const limitJson = bodyLimit({ maxSize: jsonBytesMax, onError: refuseBody });
  // The store has its own, larger limit.
  app.use((c, next) => (c.req.path.startsWith(storePath) ? next() : limitJson(c, next)));
  addRoutes(app, deps, config);
  describe(app);
  return app;
}

function addRoutes(app: Api, deps: MirrorDeps, config: SiteConfig): void {
  app.route('/', siteRoutes(deps, config));
  app.route('/', poolRoutes(deps));
  app.route('/', imageRoutes(deps));
  app.route('/', configRoutes(deps));
  app.route('/', snapshotRoutes(deps));
  app.route('/', cloneRoutes(deps));
  app.route('/', journalRoutes(deps));
  app.route('/', lockRoutes(deps));
  app.route('/', mirrorPoolRoutes(deps));
  app.route('/', trashRoutes(deps));
  app.route('/', mirrorRoutes(deps));
  app.route('/', retentionRoutes(deps));
  app.route('/', statusRoutes(deps));
  app.route('/', scheduleRoutes(deps));
  app.route('/', peerRoutes(deps, { elsewhere: config.store !== undefined }));
  app.route('/', storeRoutes<ApiEnv>({ storeOf: () => deps.bucket, authorize: authorizeStore(deps) }));
}

function describe(app: Api): void {
  for (const [name, scheme] of Object.entries(securitySchemes))
    app.openAPIRegistry.registerComponent('securitySchemes', name, scheme);
  // Made once: it is public, and making it takes longer than most answers.
  let document: ReturnType<typeof openApiDocument> | undefined;
  app.get('/openapi.json', (c) => c.json((document ??= openApiDocument(app))));
}

/** OpenAPI 3.1. Operations without `security` of their own (the store) need a user's token. */
export function openApiDocument(app: Api): ReturnType<Api['getOpenAPI31Document']> {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'farside site',
      version,
      description:
        'One site of farside: images, snapshots and their mirroring. Names in paths are percent-encoded. Errors: `{ "error": { "code", "message" } }`, with the names of errno as codes.',
      license: { name: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ client: [] }, { admin: [] }],
    tags: [
      { name: 'site', description: 'The site itself' },
      { name: 'journal', description: 'Journals of images in use' },
      { name: 'pools', description: 'Pools' },
      { name: 'images', description: 'Images and their metadata' },
      { name: 'config', description: 'Options of rbd, overridden for the site, a pool or an image' },
      { name: 'snapshots', description: 'User snapshots' },
      { name: 'clones', description: 'Clones of snapshots' },
      { name: 'trash', description: 'Images that were removed and can be had back' },
      { name: 'mirroring', description: 'Mirroring of pools and images' },
      { name: 'schedules', description: 'When mirror snapshots are taken' },
      { name: 'store', description: 'The bucket, for clients that move image data' },
      { name: 'peer', description: 'What other sites call' },
    ],
  });
}

function refuseBody(): never {
  throw new FarsideError('EFBIG', `the body is larger than ${jsonBytesMax} bytes`);
}
