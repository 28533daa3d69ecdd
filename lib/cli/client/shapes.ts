// Owns what the CLI reads in the answers of a site's API: rbd's JSON shapes as far as plain text is made from them.
// Answers may hold more; `--format json` prints them as they came.

import { z } from 'zod';
import { errorCodes } from '../../errors.ts';
import { storePlaceSchema } from '../../site/config.ts';

const uuids = z.array(z.string());

/** Of pools, of namespaces. */
export const namesShape = z.array(z.looseObject({ name: z.string() }));
export type Names = z.infer<typeof namesShape>;

const parentShape = z.looseObject({
  pool: z.string(),
  pool_namespace: z.string(),
  image: z.string(),
  id: z.string(),
  snapshot: z.string(),
  trash: z.boolean(),
});
export type ParentShape = z.infer<typeof parentShape>;

export const infoShape = z.looseObject({
  name: z.string(),
  id: z.string(),
  size: z.number(),
  objects: z.number(),
  order: z.number(),
  object_size: z.number(),
  snapshot_count: z.number(),
  data_pool: z.string().optional(),
  block_name_prefix: z.string(),
  format: z.number(),
  features: z.array(z.string()),
  op_features: z.array(z.string()),
  flags: z.array(z.string()),
  create_timestamp: z.string(),
  access_timestamp: z.string(),
  modify_timestamp: z.string(),
  protected: z.string().optional(),
  snapshot_limit: z.number().optional(),
  parent: parentShape.extend({ overlap: z.number() }).optional(),
  journal: z.string().optional(),
  mirroring: z
    .looseObject({
      mode: z.string().optional(),
      state: z.string(),
      global_id: z.string().optional(),
      primary: z.boolean().optional(),
    })
    .optional(),
});
export type Info = z.infer<typeof infoShape>;

/** `ls -l`: an image's line, then those of its snapshots. */
export const listedImagesShape = z.array(
  z.looseObject({
    image: z.string(),
    id: z.string(),
    snapshot: z.string().optional(),
    size: z.number(),
    format: z.number(),
    protected: z.string().optional(),
    parent: parentShape.optional(),
    lock_type: z.string().optional(),
  }),
);
export type ListedImages = z.infer<typeof listedImagesShape>;

export const snapshotsShape = z.array(
  z.looseObject({
    id: z.number(),
    name: z.string(),
    size: z.number(),
    protected: z.string(),
    timestamp: z.string(),
    namespace: z
      .looseObject({
        type: z.string(),
        original_name: z.string().optional(),
        state: z.string().optional(),
        mirror_peer_uuids: uuids.optional(),
        complete: z.boolean().optional(),
        primary_mirror_uuid: z.string().optional(),
        primary_snap_id: z.number().optional(),
        last_copied_object_number: z.number().optional(),
      })
      .optional(),
  }),
);
export type Snapshots = z.infer<typeof snapshotsShape>;

export const childrenShape = z.array(
  z.looseObject({
    pool: z.string(),
    pool_namespace: z.string(),
    image: z.string(),
    id: z.string(),
    trash: z.boolean(),
  }),
);
export type Children = z.infer<typeof childrenShape>;

export const retentionShape = z.looseObject({ keep: z.string().nullable(), from: z.string().nullable() });
export type Retention = z.infer<typeof retentionShape>;
export const imageRetentionShape = retentionShape.extend({
  points: z.array(z.looseObject({ id: z.number(), name: z.string(), size: z.number(), taken_at: z.string() })),
});
export type ImageRetention = z.infer<typeof imageRetentionShape>;

export const testFailoversShape = z.array(
  z.looseObject({
    pool: z.string(),
    pool_namespace: z.string(),
    image: z.string(),
    id: z.string(),
    snapshot_id: z.number(),
  }),
);
export type TestFailovers = z.infer<typeof testFailoversShape>;

/** A step of work that goes on in image order. */
export const flattenedShape = z.looseObject({ done: z.boolean(), fromOffset: z.number(), sizeBytes: z.number() });
export type Stepped = z.infer<typeof flattenedShape>;
export const copiedShape = flattenedShape.extend({ imageId: z.string() });
export type Copied = z.infer<typeof copiedShape>;

/** `pool stats`, made by the CLI. */
export type PoolCounts = {
  count: number;
  provisioned_bytes: number;
  snap_count: number;
};

export const locksShape = z.looseObject({
  type: z.string().optional(),
  tag: z.string().optional(),
  lockers: z.array(z.looseObject({ id: z.string(), locker: z.string(), address: z.string() })),
});
export type Locks = z.infer<typeof locksShape>;

/** Of an image: who has it open. */
export const watchersShape = z.looseObject({
  watchers: z.array(z.looseObject({ address: z.string(), client: z.number(), cookie: z.number() })),
});
export type Watchers = z.infer<typeof watchersShape>;

export const purgedShape = z.looseObject({ removed: z.array(z.string()), protected: z.array(z.string()) });
export type Purged = z.infer<typeof purgedShape>;

export const trashShape = z.array(
  z.looseObject({
    id: z.string(),
    name: z.string(),
    source: z.string(),
    deleted_at: z.string(),
    status: z.string(),
    deferment_end_time: z.string(),
    parent: parentShape.optional(),
  }),
);
export type Trash = z.infer<typeof trashShape>;
export const trashPurgedShape = z.looseObject({
  removed: z.array(z.string()),
  kept: z.array(z.string()),
  next: z.string().optional(),
});

export const metaShape = z.record(z.string(), z.string());

export const optionsShape = z.array(z.looseObject({ name: z.string(), value: z.string(), source: z.string() }));
export type Options = z.infer<typeof optionsShape>;
export const siteOptionsShape = z.array(z.looseObject({ name: z.string(), value: z.string(), section: z.string() }));
export type SiteOptions = z.infer<typeof siteOptionsShape>;

export const poolInfoShape = z.looseObject({
  mode: z.string(),
  site_name: z.string().optional(),
  mirror_uuid: z.string().optional(),
  remote_namespace: z.string().optional(),
  peers: z
    .array(
      z.looseObject({
        uuid: z.string(),
        direction: z.string(),
        site_name: z.string(),
        mirror_uuid: z.string(),
        client_name: z.string(),
        mon_host: z.string().optional(),
        key: z.string().optional(),
      }),
    )
    .optional(),
});
export type PoolInfo = z.infer<typeof poolInfoShape>;

export const poolRolesShape = z.looseObject({
  changed: z.number(),
  failed: z.array(z.looseObject({ image: z.string(), code: z.enum(errorCodes), message: z.string() })),
  next: z.string().optional(),
});
export type PoolRoles = z.infer<typeof poolRolesShape>;

export const uuidShape = z.looseObject({ uuid: z.string() });

const peerSiteShape = z.looseObject({
  site_name: z.string(),
  state: z.string(),
  description: z.string(),
  last_update: z.string(),
  via: z.string().optional(),
});

export const imageStatusShape = z.looseObject({
  name: z.string(),
  global_id: z.string(),
  state: z.string().optional(),
  description: z.string().optional(),
  daemon_service: z.looseObject({ daemon_id: z.string(), hostname: z.string() }).optional(),
  last_update: z.string().optional(),
  peer_sites: z.array(peerSiteShape).optional(),
  snapshots: z
    .array(
      z.looseObject({
        id: z.number(),
        name: z.string(),
        demoted: z.boolean(),
        mirror_peer_uuids: uuids,
        quiesce_error: z.string().optional(),
      }),
    )
    .optional(),
});
export type ImageStatus = z.infer<typeof imageStatusShape>;

export const poolStatusShape = z.looseObject({
  summary: z.looseObject({
    health: z.string(),
    daemon_health: z.string(),
    image_health: z.string(),
    states: z.record(z.string(), z.number()),
  }),
  warnings: z.array(z.string()).optional(),
  daemons: z
    .array(
      z.looseObject({
        service_id: z.string(),
        instance_id: z.string(),
        client_id: z.string(),
        hostname: z.string(),
        ceph_version: z.string(),
        leader: z.boolean(),
        health: z.string(),
        callouts: z.array(z.string()).optional(),
      }),
    )
    .optional(),
  images: z.array(imageStatusShape).optional(),
});
export type PoolStatus = z.infer<typeof poolStatusShape>;

export const scheduleItemsShape = z.array(z.looseObject({ interval: z.string(), start_time: z.string() }));
export type ScheduleItems = z.infer<typeof scheduleItemsShape>;

export const scheduleLevelsShape = z.array(
  z.looseObject({ pool: z.string(), namespace: z.string(), image: z.string(), items: scheduleItemsShape }),
);
export type ScheduleLevels = z.infer<typeof scheduleLevelsShape>;

export const scheduleStatusShape = z.array(
  z.looseObject({ schedule_time: z.string(), image: z.string(), quiesce_error: z.string().optional() }),
);
export type ScheduleStatus = z.infer<typeof scheduleStatusShape>;

export const purgeStatusShape = z.array(
  z.looseObject({ pool: z.string(), namespace: z.string(), schedule_time: z.string() }),
);
export type PurgeStatus = z.infer<typeof purgeStatusShape>;

export const siteShape = z.looseObject({
  name: z.string(),
  store: storePlaceSchema.optional(),
  url: z.string(),
  site_id: z.string(),
  platform: z.string(),
  version: z.string(),
  pools: z.array(z.string()),
  requests: z.object({ A: z.number(), B: z.number(), free: z.number(), bytesIn: z.number(), bytesOut: z.number() }),
});
export type Site = z.infer<typeof siteShape>;

export const tokensShape = z.array(
  z.looseObject({ id: z.string(), scope: z.string(), created_at: z.string(), expires_at: z.string().optional() }),
);
export type Tokens = z.infer<typeof tokensShape>;

export const failuresShape = z.array(
  z.looseObject({
    id: z.string(),
    type: z.string(),
    pool: z.string().optional(),
    why: z.string(),
    count: z.number(),
    lastAtMs: z.number(),
  }),
);
export type Failures = z.infer<typeof failuresShape>;
export const retriedShape = z.looseObject({ sent: z.number(), left: z.number() });

/** The token's text is answered once, when it is made; the site keeps its hash. */
export const createdTokenShape = z.looseObject({ id: z.string(), token: z.string() });

export const collectShape = z.looseObject({ run: z.string() });
export const bootstrapShape = z.looseObject({ token: z.string() });
export const mirrorSnapshotShape = z.looseObject({ id: z.number() });

/** What enabling a pool did; rbd says so. */
export const enabledPoolShape = z.looseObject({
  outcome: z.enum(['enabled', 'unchanged', 'switched']),
  mode: z.string(),
  from: z.string().optional(),
});
export const disabledPoolShape = z.looseObject({ outcome: z.enum(['disabled', 'unchanged']) });

export const journalInfoShape = z.looseObject({
  journal_id: z.string(),
  header_oid: z.string(),
  object_oid_prefix: z.string(),
  order: z.number(),
  splay_width: z.number(),
});
export type JournalInfo = z.infer<typeof journalInfoShape>;
const objectPositionShape = z.looseObject({ object_number: z.number(), tag_tid: z.number(), entry_tid: z.number() });
export const journalStatusShape = z.looseObject({
  minimum_set: z.number(),
  active_set: z.number(),
  registered_clients: z.array(
    z.looseObject({
      id: z.string(),
      commit_position: z.looseObject({ object_positions: z.array(objectPositionShape) }),
      state: z.string(),
    }),
  ),
});
export type JournalStatus = z.infer<typeof journalStatusShape>;
export const journalInspectionShape = z.looseObject({
  entries: z.number(),
  errors: z.array(z.looseObject({ object_number: z.number(), error: z.string() })),
  next: z.number().optional(),
});
export type JournalInspection = z.infer<typeof journalInspectionShape>;
