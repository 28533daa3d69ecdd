// Owns the shapes of rbd's mirroring reports, as clients read them: `mirror image status`, `mirror pool status`,
// `mirror pool info`, schedules. They are made in lib/mirror; fields are only added.

import { z } from '@hono/zod-openapi';

const health = z.enum(['OK', 'UNKNOWN', 'WARNING', 'ERROR']);
const uuids = z.array(z.string());

export const imageStatusSchema = z
  .object({
    name: z.string(),
    global_id: z.string(),
    state: z.string().optional().openapi({ example: 'up+replaying' }),
    description: z.string().optional().openapi({ description: 'When replaying, ends with a JSON object of numbers' }),
    daemon_service: z
      .object({ service_id: z.string(), instance_id: z.string(), daemon_id: z.string(), hostname: z.string() })
      .optional(),
    last_update: z.string().optional(),
    peer_sites: z
      .array(
        z.object({
          site_name: z.string(),
          mirror_uuids: z.string(),
          state: z.string(),
          description: z.string(),
          last_update: z.string(),
          via: z.string().optional().openapi({ description: 'The peer that told of this site, which it feeds' }),
        }),
      )
      .optional(),
    snapshots: z
      .array(
        z.object({
          id: z.number(),
          name: z.string(),
          demoted: z.boolean(),
          mirror_peer_uuids: uuids,
          quiesce_error: z.string().optional(),
        }),
      )
      .optional(),
  })
  .openapi('MirrorImageStatus');

export const poolStatusSchema = z
  .object({
    summary: z.object({
      health,
      daemon_health: health,
      image_health: health,
      states: z.record(z.string(), z.number().optional()),
    }),
    warnings: z
      .array(z.string())
      .optional()
      .openapi({ description: 'What an operator should look at, one sentence each' }),
    daemons: z
      .array(
        z.object({
          service_id: z.string(),
          instance_id: z.string(),
          client_id: z.string(),
          hostname: z.string(),
          ceph_version: z.string(),
          leader: z.boolean(),
          health,
          callouts: z.array(z.string()).optional(),
        }),
      )
      .optional(),
    images: z.array(imageStatusSchema).optional(),
  })
  .openapi('MirrorPoolStatus');

const peerInfo = z.object({
  uuid: z.string(),
  direction: z.enum(['rx-only', 'tx-only', 'rx-tx']),
  site_name: z.string(),
  mirror_uuid: z.string(),
  client_name: z.string(),
  mon_host: z.string().optional(),
  key: z.string().optional().openapi({ description: 'With `all`, if an admin asks; a secret' }),
});

export const poolInfoSchema = z
  .object({
    mode: z.string(),
    site_name: z.string().optional(),
    mirror_uuid: z.string().optional(),
    remote_namespace: z.string().optional(),
    peers: z.array(peerInfo).optional(),
  })
  .openapi('MirrorPoolInfo');

const items = z.array(z.object({ interval: z.string(), start_time: z.string() }));
/** Items of one level; with `recursive`, of it and all below. */
export const schedulesSchema = z
  .union([items, z.array(z.object({ pool: z.string(), namespace: z.string(), image: z.string(), items }))])
  .openapi('Schedules');
export const scheduleStatusSchema = z
  .array(z.object({ schedule_time: z.string(), image: z.string(), quiesce_error: z.string().optional() }))
  .openapi('ScheduleStatus');
export const purgeStatusSchema = z
  .array(z.object({ pool: z.string(), namespace: z.string(), schedule_time: z.string() }))
  .openapi('PurgeScheduleStatus');
