// `pool stats`: how many images and snapshots a pool has, and how large they are called.

import type { Client } from '../client/client.ts';
import { defineReport } from '../command.ts';
import type { PoolSpec } from '../parse/grammar.ts';
import { poolAndNamespaceArgument } from '../parse/parameters.ts';
import { plainPoolStats } from '../output/plain-image.ts';
import type { PoolCounts } from '../client/shapes.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const poolStats = defineReport({
  path: 'pool stats',
  summary: 'display pool statistics',
  description:
    'Of one namespace. Sizes are what images are called, not what they take (see du); of an image with a larger snapshot, the snapshot’s.',
  arguments: { pool: poolAndNamespaceArgument },
  options: {},
  xml: xmlShapes.poolStats,
  examples: ['farside pool stats rbd', 'farside pool stats rbd --format json'],
  async run({ args: { pool }, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'failed to query pool stats', errno: true }, async () => ({
      images: await countImages(client, pool),
      trash: await countTrash(client, pool),
    }));
    report({ value, plain: () => plainPoolStats(value) });
  },
});

const nothing: PoolCounts = { count: 0, provisioned_bytes: 0, snap_count: 0 };

async function countImages(client: Client, pool: PoolSpec): Promise<PoolCounts> {
  const listed = await client.listImages(pool);
  const largest = new Map<string, number>();
  for (const { id, size } of listed) largest.set(id, Math.max(size, largest.get(id) ?? 0));
  const heads = listed.filter(({ snapshot }) => snapshot === undefined);
  return {
    count: heads.length,
    provisioned_bytes: [...largest.values()].reduce((sum, size) => sum + size, 0),
    snap_count: listed.length - heads.length,
  };
}

/** Two requests an image: the trash is not listed with sizes. */
async function countTrash(client: Client, pool: PoolSpec): Promise<PoolCounts> {
  let counts = nothing;
  for (const { id: image } of await client.trash.list(pool, { all: true })) {
    const spec = { ...pool, image, byId: true };
    const { size } = await client.imageInfo(spec);
    const snapshots = await client.listSnapshots(spec, { all: false });
    counts = {
      count: counts.count + 1,
      provisioned_bytes: counts.provisioned_bytes + Math.max(size, ...snapshots.map((one) => one.size)),
      snap_count: counts.snap_count + snapshots.length,
    };
  }
  return counts;
}
