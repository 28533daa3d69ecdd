// Owns the routes of the journal of an image in use: what its writer tells the site, and what it needs to know to take points
// itself (lib/mirror/points.ts). Handlers translate.

import { createRoute, z } from '@hono/zod-openapi';

import { openHeader } from '../../image/access.ts';
import { advanceJournal } from '../../mirror/advance.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { pointTerms } from '../../mirror/points.ts';
import { access } from './access.ts';
import { body, done, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['journal'];
const journalPath = '/v1/pools/{pool}/images/{image}/journal';
const { imageParams, namespaceQuery } = schemas;
const imageRequest = { params: imageParams, query: namespaceQuery };

const count = z.int().min(0);
const advanceBody = z
  .object({
    epoch: z.string().regex(/^[0-9a-f]{16}$/),
    seq: count.openapi({ description: 'The first slot that is free' }),
    entry: count.openapi({ description: 'Requests before it in the epoch' }),
    record: z
      .boolean()
      .openapi({ description: 'Also for replicas that get no wake-up: the first, one each half minute, the last' }),
  })
  .openapi('AdvanceJournal');
const termsSchema = z.object({ peerUuids: z.array(z.string()), snapshotsMax: count }).openapi('PointTerms');

const advance = createRoute({
  method: 'post',
  path: `${journalPath}/advance`,
  tags,
  summary: 'The journal of an image in use went on: its replicas are woken',
  ...access.client,
  request: { ...imageRequest, body: body(advanceBody) },
  responses: done('Told'),
});
const terms = createRoute({
  method: 'get',
  path: `${journalPath}/terms`,
  tags,
  summary: 'What a point depends on that a change of the image takes',
  ...access.client,
  request: imageRequest,
  responses: ok(termsSchema, 'The peers that it is for, and how many are kept'),
});

export function journalRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(advance, async (c) => {
    const spec = specOf(c.req.valid('param'), c.req.valid('query'));
    await advanceJournal(deps, spec, c.req.valid('json').record);
    return c.body(null, 204);
  });
  api.openapi(terms, async (c) => {
    const { value } = await openHeader(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.json(await pointTerms(deps, value), 200);
  });
  return api;
}
