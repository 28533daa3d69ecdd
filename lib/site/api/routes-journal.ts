// Owns the routes of the journal of an image in use: what its writer tells the site, and what it needs to know to take points
// itself (lib/mirror/primary/points.ts). Handlers translate.

import { createRoute, z } from '@hono/zod-openapi';

import { openHeader } from '../../image/access.ts';
import { openHead } from '../../image/journal/fold.ts';
import { advanceJournal } from '../../mirror/primary/advance.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { disconnectClients } from '../../mirror/primary/disconnect.ts';
import { inspectJournal, journalInfo, journalStatus, resetJournal } from '../../mirror/primary/journal-report.ts';
import { pointTerms } from '../../mirror/primary/points.ts';
import { access } from './access.ts';
import { body, done, newApi, ok, optionalBody, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['journal'];
const journalPath = '/v1/pools/{pool}/images/{image}/journal';
const { imageParams, imageQuery, namespaceQuery } = schemas;
const imageRequest = { params: imageParams, query: namespaceQuery };
/** A journal's id is that of its image. */
const journalRequest = { params: imageParams, query: imageQuery };

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

const infoSchema = z
  .object({
    journal_id: z.string(),
    header_oid: z.string(),
    object_oid_prefix: z.string(),
    order: count,
    splay_width: count,
  })
  .openapi('JournalInfo');
const positionSchema = z.object({ object_number: count, tag_tid: count, entry_tid: count });
const statusSchema = z
  .object({
    minimum_set: count,
    active_set: count,
    registered_clients: z.array(
      z.object({
        id: z.string().openapi({ description: 'Empty: the image itself; else the mirror uuid of a peer' }),
        commit_position: z.object({ object_positions: z.array(positionSchema) }),
        state: z.enum(['connected', 'disconnected']),
      }),
    ),
  })
  .openapi('JournalStatus');
const inspectionSchema = z
  .object({
    entries: count,
    errors: z.array(z.object({ object_number: count, error: z.string() })),
    next: count.optional().openapi({ description: 'Where to go on' }),
  })
  .openapi('JournalInspection');
const disconnectBody = z.object({ clientId: z.string().max(64).optional() }).openapi('DisconnectJournalClient');
const disconnectedSchema = z.object({ clients: z.array(z.string()) }).openapi('DisconnectedJournalClients');

const info = createRoute({
  method: 'get',
  path: journalPath,
  tags,
  summary: 'Where the journal of an image is',
  ...access.client,
  request: journalRequest,
  responses: ok(infoSchema, 'rbd `journal info`'),
});
const status = createRoute({
  method: 'get',
  path: `${journalPath}/status`,
  tags,
  summary: 'Who reads the journal of an image, and how far they are',
  ...access.client,
  request: journalRequest,
  responses: ok(statusSchema, 'rbd `journal status`'),
});
const inspection = createRoute({
  method: 'get',
  path: `${journalPath}/inspection`,
  tags,
  summary: 'Verifies a bounded part of what is in the journal and not in the map',
  ...access.client,
  request: { params: imageParams, query: imageQuery.extend({ from: z.coerce.number().int().min(0).optional() }) },
  responses: ok(inspectionSchema, 'What was found'),
});
const reset = createRoute({
  method: 'post',
  path: `${journalPath}/reset`,
  tags,
  summary: 'Everything that is in the journal goes into the map',
  ...access.client,
  request: journalRequest,
  responses: done('Done'),
});
const fold = createRoute({
  method: 'post',
  path: `${journalPath}/fold`,
  tags,
  summary: 'What is durable in the journal goes into the map: for who reads the head in the bucket',
  ...access.client,
  request: imageRequest,
  responses: done('Folded'),
});
const disconnect = createRoute({
  method: 'post',
  path: `${journalPath}/disconnect`,
  tags,
  summary: 'Replicas get nothing more until they are resynced',
  ...access.client,
  request: { ...journalRequest, body: optionalBody(disconnectBody) },
  responses: ok(disconnectedSchema, 'Those that are disconnected'),
});

export function journalRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(advance, async (c) => {
    const spec = specOf(c.req.valid('param'), c.req.valid('query'));
    await advanceJournal(deps, spec, c.req.valid('json'));
    return c.body(null, 204);
  });
  api.openapi(terms, async (c) => {
    const { value } = await openHeader(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.json(await pointTerms(deps, value), 200);
  });
  api.openapi(info, async (c) =>
    c.json(await journalInfo(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(status, async (c) =>
    c.json(await journalStatus(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(inspection, async (c) => {
    const { from, ...query } = c.req.valid('query');
    return c.json(await inspectJournal(deps, specOf(c.req.valid('param'), query), from), 200);
  });
  api.openapi(fold, async (c) => {
    await openHead(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.body(null, 204);
  });
  api.openapi(reset, async (c) => {
    await resetJournal(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.body(null, 204);
  });
  api.openapi(disconnect, async (c) => {
    const spec = specOf(c.req.valid('param'), c.req.valid('query'));
    return c.json({ clients: await disconnectClients(deps, spec, c.req.valid('json').clientId) }, 200);
  });
  return api;
}
