// Owns the routes of options: what the site, a pool or an image overrides. An image's own overrides are metadata
// (`conf_…`), and set by its routes.

import { createRoute } from '@hono/zod-openapi';

import { getConfig, listImageConfig, listPoolConfig, listSiteConfig } from '../../image/config.ts';
import { overrideOption } from '../../mirror/config.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { access } from './access.ts';
import { body, done, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['config'];
const sitePath = '/v1/config/{section}';
const siteOptionPath = `${sitePath}/{option}` as const;
const poolPath = '/v1/pools/{pool}/config';
const poolOptionPath = `${poolPath}/{option}` as const;
const value = body(schemas.metaValueBody);

const listOfSite = createRoute({
  method: 'get',
  path: sitePath,
  tags,
  summary: 'What the site overrides; `client` inherits from `global`',
  ...access.admin,
  request: { params: schemas.sectionParams },
  responses: ok(schemas.siteOptionsSchema, 'rbd `config global list`'),
});
const getOfSite = createRoute({
  method: 'get',
  path: siteOptionPath,
  tags,
  summary: 'One override of the site',
  ...access.admin,
  request: { params: schemas.siteOptionParams },
  responses: ok(schemas.metaValueSchema, 'The value'),
});
const setOfSite = createRoute({
  method: 'put',
  path: siteOptionPath,
  tags,
  summary: 'Override an option for the site',
  ...access.admin,
  request: { params: schemas.siteOptionParams, body: value },
  responses: done('Set'),
});
const removeOfSite = createRoute({
  method: 'delete',
  path: siteOptionPath,
  tags,
  summary: 'Take an override of the site back',
  ...access.admin,
  request: { params: schemas.siteOptionParams },
  responses: done('Not set any more'),
});
const listOfPool = createRoute({
  method: 'get',
  path: poolPath,
  tags,
  summary: 'Every option as it holds for the pool, and who decided',
  ...access.client,
  request: { params: schemas.poolParams },
  responses: ok(schemas.optionsSchema, 'rbd `config pool list`'),
});
const getOfPool = createRoute({
  method: 'get',
  path: poolOptionPath,
  tags,
  summary: 'One override of the pool',
  ...access.client,
  request: { params: schemas.poolOptionParams },
  responses: ok(schemas.metaValueSchema, 'The value'),
});
const setOfPool = createRoute({
  method: 'put',
  path: poolOptionPath,
  tags,
  summary: 'Override an option for the pool',
  ...access.client,
  request: { params: schemas.poolOptionParams, body: value },
  responses: done('Set'),
});
const removeOfPool = createRoute({
  method: 'delete',
  path: poolOptionPath,
  tags,
  summary: 'Take an override of the pool back',
  ...access.client,
  request: { params: schemas.poolOptionParams },
  responses: done('Not set any more'),
});
const listOfImage = createRoute({
  method: 'get',
  path: '/v1/pools/{pool}/images/{image}/config',
  tags,
  summary: 'Every option as it holds for the image, and who decided',
  ...access.client,
  request: { params: schemas.imageParams, query: schemas.namespaceQuery },
  responses: ok(schemas.optionsSchema, 'rbd `config image list`'),
});

export function configRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  addSiteRoutes(api, deps);
  api.openapi(listOfPool, async (c) => c.json(await listPoolConfig(deps, c.req.valid('param').pool), 200));
  api.openapi(getOfPool, async (c) => {
    const { pool, option } = c.req.valid('param');
    return c.json({ value: await getConfig(deps, { pool }, option) }, 200);
  });
  api.openapi(setOfPool, async (c) => {
    const { pool, option } = c.req.valid('param');
    await overrideOption(deps, { pool }, option, c.req.valid('json').value);
    return c.body(null, 204);
  });
  api.openapi(removeOfPool, async (c) => {
    const { pool, option } = c.req.valid('param');
    await overrideOption(deps, { pool }, option, undefined);
    return c.body(null, 204);
  });
  api.openapi(listOfImage, async (c) =>
    c.json(await listImageConfig(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  return api;
}

function addSiteRoutes(api: Api, deps: MirrorDeps): void {
  api.openapi(listOfSite, async (c) => c.json(await listSiteConfig(deps, c.req.valid('param').section), 200));
  api.openapi(getOfSite, async (c) => {
    const { section, option } = c.req.valid('param');
    return c.json({ value: await getConfig(deps, { section }, option) }, 200);
  });
  api.openapi(setOfSite, async (c) => {
    const { section, option } = c.req.valid('param');
    await overrideOption(deps, { section }, option, c.req.valid('json').value);
    return c.body(null, 204);
  });
  api.openapi(removeOfSite, async (c) => {
    const { section, option } = c.req.valid('param');
    await overrideOption(deps, { section }, option, undefined);
    return c.body(null, 204);
  });
}
