// Owns a site in plain Node: Site on a directory bucket, with an in-process queue, served on loopback.
//
// Nothing is lost by a kill at any point but queued messages, which the first tick after the next start makes up for.

import { ServerResponse } from 'node:http';
import { serve, type ServerType } from '@hono/node-server';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { systemClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { threadedDownload } from '../../lib/node/download.ts';
import type { Rooms } from '../../lib/node/rooms.ts';
import { sendStream } from '../../lib/node/send-stream.ts';
import { ThreadedCodec } from '../../lib/node/threaded-codec.ts';
import { MemoryQueue, type MemoryQueueSettings } from '../../lib/site/queue-memory.ts';
import { Site } from '../../lib/site/site.ts';
import { checkPortFree, loopback, portInUse } from './free-port.ts';
import type { LocalSiteOptions, RunningSite } from './local-site.ts';
import { sitePaths } from './site-directory.ts';

/** How long requests and messages under way may take to finish at a stop. */
const drainMs = 5000;

/** `measured`: for measurements of one message at a time, and of its memory. */
export async function startNodeSite(
  { directory, port, config, log }: LocalSiteOptions,
  measured: { queue?: Partial<MemoryQueueSettings>; rooms?: Rooms } = {},
): Promise<RunningSite> {
  const deps = { clock: systemClock, random: systemRandom };
  const bucket = new Bucket(new FileDriver(sitePaths(directory).bucket), deps);
  const queue = new MemoryQueue({ ...deps, log }, measured.queue);
  const site = new Site({
    ...deps,
    bucket,
    queue,
    fetch: (input, init) => fetch(input, init),
    download: threadedDownload(measured.rooms),
    codec: new ThreadedCodec(),
    config,
    log,
  });
  await site.start();
  await checkPortFree(port);
  const server = await listen(site, port);
  queue.start(site);
  return {
    tick: (nowMs) => site.tick(nowMs),
    stop: async () => {
      await Promise.race([Promise.all([close(server), queue.stop()]), systemClock.sleep(drainMs)]);
    },
  };
}

function listen(site: Site, port: number): Promise<ServerType> {
  return new Promise((resolve, reject) => {
    const answer: Parameters<typeof serve>[0]['fetch'] = async (request, { outgoing }) => {
      const response = await site.fetch(request);
      return outgoing instanceof ServerResponse ? sendStream(response, outgoing) : response;
    };
    const server = serve({ fetch: answer, port, hostname: loopback }, () => resolve(server));
    server.once('error', (cause) => reject(portInUse(port, cause)));
  });
}

function close(server: ServerType): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    if ('closeIdleConnections' in server) server.closeIdleConnections();
  });
}
