// Owns the shapes of the API that are not rbd's own or a peer's: parameters, bodies and answers. They validate requests and
// make the OpenAPI document, so the two cannot disagree. Field names in bodies are farside's; answers that rbd has too (info,
// listings, status) have rbd's fields, and are only added to.

import { z } from '@hono/zod-openapi';

import { sizeBytesMax } from '../../image/header.ts';
import { objectBytesMax, objectBytesMin } from '../../image/images.ts';
import { metaValueBytesMax } from '../../image/meta.ts';
import { quiesceModes } from '../../image/journal/quiesce.ts';
import { delaySecondsMax } from '../../image/trash.ts';
import { storePlaceSchema } from '../config.ts';

/** Names are checked by lib; here only that they are of a length worth reading. */
const name = (example: string) => z.string().min(1).max(1024).openapi({ example });

export const poolParams = z.object({ pool: name('rbd') });
export const imageParams = poolParams.extend({ image: name('disk-1') });
export const snapParams = imageParams.extend({ snap: name('before-upgrade') });
export const metaParams = imageParams.extend({ key: name('conf_rbd_mirroring_delete_delay') });
const option = z.string().min(1).max(255).openapi({ example: 'rbd_mirroring_delete_delay' });
export const poolOptionParams = poolParams.extend({ option });
const section = z.string().min(1).max(255).openapi({ example: 'global' });
export const sectionParams = z.object({ section });
export const siteOptionParams = z.object({ section, option });
export const namespaceParams = poolParams.extend({ namespace: name('tenant-1') });
export const peerUuidParams = poolParams.extend({ uuid: name('71249ac3-c569-4c3d-a9d0-50c2f0482888') });
export const tokenIdParams = z.object({ id: name('0123456789abcdef') });

/** `?all=true`; anything but `true` and `false` is refused. */
export const flag = z.enum(['true', 'false']).optional();
export const isSet = (value: 'true' | 'false' | undefined): boolean => value === 'true';
/** Where what is left out is decided elsewhere. */
export const asked = (value: 'true' | 'false' | undefined): boolean | undefined =>
  value === undefined ? undefined : isSet(value);

export const namespaceQuery = z.object({ namespace: z.string().max(1024).default('') });
/** Where the image may be named by its id, which finds it in the trash too. */
export const imageQuery = namespaceQuery.extend({
  byId: flag.openapi({ description: 'The image is named by its id, and may be in the trash.' }),
});
export const infoQuery = imageQuery.extend({ snap: z.string().max(1024).optional() });
export const snapsQuery = imageQuery.extend({ all: flag });
export const forceQuery = namespaceQuery.extend({ force: flag });
export const removeQuery = namespaceQuery.extend({
  toTrash: flag.openapi({ description: 'Whether it goes to the trash; else rbd_move_to_trash_on_remove decides.' }),
  expireSeconds: z.coerce
    .number()
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .optional(),
  parentToTrash: flag.openapi({
    description:
      'Whether it goes there for its clones, if nothing else holds it; else rbd_move_parent_to_trash_on_remove decides.',
  }),
});
export const verboseQuery = namespaceQuery.extend({ verbose: flag });
export const listQuery = namespaceQuery.extend({
  after: z.string().max(1024).optional(),
  limit: z.coerce.number().int().min(1).max(1000).optional(),
});

const sizeBytes = z.int().min(0).max(sizeBytesMax);

const features = z.array(z.string().max(64)).max(32);
/** What is left out, options of the pool decide. */
export const creationShape = {
  objectBytes: z.int().min(objectBytesMin).max(objectBytesMax).optional(),
  features: features.optional(),
  shared: z.boolean().optional().openapi({ description: 'Without the features of a single client.' }),
  dataPool: name('rbd-data').optional(),
};
export const featuresBody = z
  .union([z.object({ enable: features }).strict(), z.object({ disable: features }).strict()])
  .openapi('UpdateFeatures');

export const createImageBody = z.object({ name: name('disk-1'), sizeBytes, ...creationShape }).openapi('CreateImage');
export const renameBody = z.object({ name: name('disk-2') }).openapi('Rename');
export const resizeBody = z.object({ sizeBytes, allowShrink: z.boolean().default(false) }).openapi('Resize');
export const trashParams = poolParams.extend({ id: name('0123456789abcdef01234567') });
export const trashQuery = listQuery.extend({ all: flag });
export const moveToTrashBody = z
  .object({
    image: name('disk-1'),
    delaySeconds: z
      .int()
      .min(0)
      .max(delaySecondsMax)
      .default(0)
      .openapi({ description: 'How long only force removes it.' }),
  })
  .openapi('MoveToTrash');
export const restoreBody = z.object({ name: name('disk-1').optional() }).openapi('RestoreFromTrash');
export const purgeTrashBody = z
  .object({
    expiredBeforeMs: z.number().optional().openapi({ description: 'Since the epoch; now when left out.' }),
    after: z.string().max(1024).optional(),
  })
  .openapi('PurgeTrash');
const quiesce = z.enum(quiesceModes).optional().openapi({
  description:
    'Of an image in use whose writer has a quiesce hook: whether it is run, and has to succeed. Required when left out.',
});
export const createSnapBody = z.object({ name: name('before-upgrade'), quiesce }).openapi('CreateSnapshot');
export const createMirrorSnapBody = z.object({ quiesce }).openapi('CreateMirrorSnapshot');
export const changeSnapBody = z
  .object({ name: name('renamed').optional(), protected: z.boolean().optional() })
  .refine((change) => (change.name === undefined) !== (change.protected === undefined), 'give either name or protected')
  .openapi('ChangeSnapshot');
export const snapshotLimitBody = z.object({ limit: z.int().min(0) }).openapi('SnapshotLimit');
export const metaValueBody = z.object({ value: z.string().max(metaValueBytesMax) }).openapi('MetaValue');

export const createNamespaceBody = z.object({ name: name('tenant-1') }).openapi('CreateNamespace');
export const createPoolBody = z.object({ name: name('rbd') }).openapi('CreatePool');
export const createTokenBody = z
  .object({
    scope: z.string().max(1100).openapi({ example: 'pool:rbd' }),
    expiresInSeconds: z
      .int()
      .min(1)
      .max(10 * 365 * 86_400)
      .optional(),
  })
  .openapi('CreateToken');

const siteName = z.string().min(1).max(255).optional();
export const enablePoolBody = z
  .object({
    mode: z.string().max(64).openapi({ example: 'image' }),
    siteName,
    remoteNamespace: z
      .string()
      .max(255)
      .optional()
      .openapi({ description: "The peers' namespace; '' is their default one" }),
  })
  .openapi('EnablePoolMirroring');
export const bootstrapBody = z.object({ siteName }).openapi('CreateBootstrapToken');
/** One more peer to receive from than rbd allows. */
const additional = z.boolean().optional();
export const importBody = z
  .object({ token: z.string().max(16_384), direction: z.string().max(64).optional(), siteName, additional })
  .openapi('ImportBootstrapToken');
export const addPeerBody = z
  .object({
    cluster: name('site-b'),
    client: z.string().max(255).optional(),
    direction: z.string().max(64).optional(),
    monHost: z.string().max(2048).optional().openapi({ description: 'URL of the site' }),
    key: z.string().max(4096).optional().openapi({ description: 'The key in a bootstrap token of the site; a secret' }),
    additional,
  })
  .openapi('AddPeer');
export const setPeerBody = z
  .object({ key: z.string().max(64).openapi({ example: 'direction' }), value: z.string().max(4096) })
  .openapi('SetPeer');
export const enableImageBody = z
  .object({ mode: z.string().max(64).optional().openapi({ example: 'snapshot' }) })
  .openapi('EnableImageMirroring');
export const promotePoolBody = z
  .object({ force: z.boolean().default(false), after: z.string().max(1024).optional() })
  .openapi('PromotePool');
export const demotePoolBody = z.object({ after: z.string().max(1024).optional() }).openapi('DemotePool');
export const promoteBody = z.object({ force: z.boolean().default(false) }).openapi('Promote');

export const levelQuery = z.object({
  pool: z.string().max(1024).optional(),
  namespace: z.string().max(1024).optional(),
  image: z.string().max(1024).optional(),
});
export const listScheduleQuery = levelQuery.extend({ recursive: flag });
export const removeScheduleQuery = levelQuery.extend({
  interval: z.string().max(64).optional(),
  startTime: z.string().max(64).optional(),
});
export const scheduleBody = z
  .object({ interval: z.string().max(64).openapi({ example: '5m' }), startTime: z.string().max(64).optional() })
  .openapi('ScheduleItem');

// Answers.

export const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) }).openapi('Error');
export const idSchema = z.object({ id: z.string() }).openapi('Id');
export const snapIdSchema = z.object({ id: z.number() }).openapi('SnapshotId');
export const healthSchema = z
  .object({ status: z.enum(['ok', 'failing']), name: z.string(), platform: z.string(), version: z.string() })
  .openapi('Health');
/** Requests to the bucket since this process (or isolate) began, by price class, and bytes moved. */
const requestCountsSchema = z.object({
  A: z.number(),
  B: z.number(),
  free: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
});
export const siteSchema = z
  .object({
    name: z.string(),
    url: z.string(),
    site_id: z.string(),
    platform: z.string(),
    version: z.string(),
    pools: z.array(z.string()),
    requests: requestCountsSchema,
    store: storePlaceSchema
      .optional()
      .openapi({ description: 'Where clients read and write image data themselves; missing: through `/v1/store`' }),
  })
  .openapi('Site');
export const poolsSchema = z.array(z.object({ name: z.string() })).openapi('Pools');
export const namespacesSchema = z.array(z.object({ name: z.string() })).openapi('Namespaces');
export const newTokenSchema = z.object({ id: z.string(), token: z.string() }).openapi('NewToken');
export const tokensSchema = z
  .array(z.object({ id: z.string(), scope: z.string(), created_at: z.string(), expires_at: z.string().optional() }))
  .openapi('Tokens');
export const failuresSchema = z
  .array(
    z.object({
      id: z.string(),
      type: z.string(),
      pool: z.string().optional(),
      message: z.string().openapi({ description: 'As JSON text, cut' }),
      why: z.string(),
      count: z.number(),
      firstAtMs: z.number(),
      lastAtMs: z.number(),
    }),
  )
  .openapi('Failures');
export const failureIdQuery = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'not the id of a failure')
    .optional(),
});
export const retriedSchema = z
  .object({ sent: z.number(), left: z.number().openapi({ description: 'What this version cannot send' }) })
  .openapi('RetriedFailures');

const protectedText = z.enum(['true', 'false']);
const parentSchema = z.object({
  pool: z.string(),
  pool_namespace: z.string(),
  image: z.string(),
  id: z.string(),
  snapshot: z.string(),
  trash: z.boolean(),
});
export const infoSchema = z
  .object({
    name: z.string(),
    id: z.string(),
    size: z.number(),
    objects: z.number(),
    order: z.number(),
    object_size: z.number(),
    snapshot_count: z.number(),
    data_pool: z.string().optional(),
    block_name_prefix: z.string(),
    format: z.literal(2),
    features: z.array(z.string()),
    op_features: z.array(z.string()),
    flags: z.array(z.string()),
    create_timestamp: z.string(),
    access_timestamp: z.string(),
    modify_timestamp: z.string(),
    protected: protectedText.optional(),
    snapshot_limit: z.number().optional(),
    parent: parentSchema.extend({ overlap: z.number() }).optional(),
    mirroring: z
      .object({ mode: z.enum(['journal', 'snapshot']), state: z.string(), global_id: z.string(), primary: z.boolean() })
      .optional(),
  })
  .openapi('ImageInfo');

export const imagesSchema = z
  .object({
    images: z.array(
      z.object({
        image: z.string(),
        id: z.string(),
        snapshot: z.string().optional(),
        snapshot_id: z.number().optional(),
        size: z.number(),
        format: z.literal(2),
        protected: protectedText.optional(),
        parent: parentSchema.optional(),
        lock_type: z.enum(['exclusive', 'shared']).optional(),
      }),
    ),
    next: z.string().optional().openapi({ description: 'Pass as `after` for the next page.' }),
  })
  .openapi('Images');

export const trashSchema = z
  .object({
    images: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        source: z.enum(['USER', 'USER_PARENT', 'MIRRORING']),
        deleted_at: z.string(),
        status: z.string(),
        deferment_end_time: z.string(),
        parent: parentSchema.optional(),
      }),
    ),
    next: z.string().optional().openapi({ description: 'Pass as `after` for the next page.' }),
  })
  .openapi('Trash');
export const trashPurgedSchema = z
  .object({
    removed: z.array(z.string()),
    kept: z.array(z.string()).openapi({ description: 'Images that have snapshots.' }),
    next: z.string().optional().openapi({ description: 'Pass as `after` to go on.' }),
  })
  .openapi('TrashPurged');

export const snapshotsSchema = z
  .array(
    z.object({
      id: z.number(),
      name: z.string(),
      size: z.number(),
      protected: protectedText,
      timestamp: z.string(),
      namespace: z
        .object({
          type: z.enum(['user', 'mirror', 'trash']),
          original_name: z.string().optional(),
          state: z.string().optional(),
          mirror_peer_uuids: z.array(z.string()).optional(),
          complete: z.boolean().optional(),
          primary_mirror_uuid: z.string().optional(),
          primary_snap_id: z.number().optional(),
          last_copied_object_number: z.number().optional(),
        })
        .optional(),
    }),
  )
  .openapi('Snapshots');
export const purgedSchema = z
  .object({ removed: z.array(z.string()), protected: z.array(z.string()) })
  .openapi('Purged');
export const metaSchema = z.record(z.string(), z.string()).openapi('Meta');
export const metaValueSchema = z.object({ value: z.string() }).openapi('MetaValueAnswer');
export const optionsSchema = z
  .array(z.object({ name: z.string(), value: z.string(), source: z.enum(['config', 'pool', 'image']) }))
  .openapi('Options');
export const siteOptionsSchema = z
  .array(z.object({ name: z.string(), value: z.string(), section: z.string() }))
  .openapi('SiteOptions');
export const bootstrapSchema = z.object({ token: z.string() }).openapi('BootstrapToken');
export const enabledSchema = z
  .object({ outcome: z.enum(['enabled', 'unchanged', 'switched']), mode: z.string(), from: z.string().optional() })
  .openapi('PoolMirroringEnabled');
export const disabledSchema = z.object({ outcome: z.enum(['disabled', 'unchanged']) }).openapi('PoolMirroringDisabled');
export const poolRolesSchema = z
  .object({
    changed: z.number(),
    failed: z.array(z.object({ image: z.string(), code: z.string(), message: z.string() })),
    next: z.string().optional().openapi({ description: 'Pass as `after`: there are more images.' }),
  })
  .openapi('PoolRoles');
export const runSchema = z.object({ run: z.string() }).openapi('CollectRun');
export const uuidSchema = z.object({ uuid: z.string() }).openapi('PeerUuid');
