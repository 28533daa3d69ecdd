// Owns pools/{pool}/removed/{globalId}: mirroring of an image was given up on purpose. Only this makes a peer delete its
// replica; an image that is merely absent may be a site that lost its bucket. Write-once; kept while the pool lives.

import { z } from 'zod';

import { keyText } from '../../bucket/keys.ts';
import type { DocumentDeps } from '../limits.ts';

/**
 * `mirrorUuid`: the primary that gave the image up; only copies of its points follow. Absent in tombstones of version 0.1.0.
 * `stays`: the image itself lives on and may be mirrored again, so its replicas are kept for a while.
 */
const tombstoneSchema = z.object({
  removedAtMs: z.number(),
  mirrorUuid: z.string().min(1).max(64).optional(),
  stays: z.boolean().optional(),
});
export type Tombstone = z.infer<typeof tombstoneSchema>;

const tombstoneKey = (pool: string, globalId: string): string => keyText({ kind: 'tombstone', pool, globalId });

export async function putTombstone(
  deps: DocumentDeps,
  pool: string,
  globalId: string,
  { mirrorUuid, stays }: { mirrorUuid: string; stays: boolean },
): Promise<void> {
  const tombstone = { removedAtMs: deps.clock.nowMs(), mirrorUuid, ...(stays && { stays }), nonce: deps.random.uuid() };
  await deps.bucket.create(tombstoneKey(pool, globalId), new TextEncoder().encode(JSON.stringify(tombstone)));
}

export async function readTombstone(
  deps: DocumentDeps,
  pool: string,
  globalId: string,
): Promise<Tombstone | undefined> {
  const found = await deps.bucket.get(tombstoneKey(pool, globalId));
  return found.status === 'found' ? tombstoneSchema.parse(JSON.parse(new TextDecoder().decode(found.body))) : undefined;
}
