// Two sites for a recording to be replayed on: plain Node, directories as buckets, HTTP on loopback, the CLI's own `run`. Only
// time is the test's: ticks come when it says so, so that nothing depends on where in a minute a test starts.

import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve, type ServerType } from '@hono/node-server';
import { choosePort, loopback } from '../../infra/local/free-port.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { registerSite } from '../../lib/cli/sites/registry.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { MemoryQueue } from '../../lib/site/queue-memory.ts';
import { Site } from '../../lib/site/site.ts';
import { Shell, type Said } from '../cli/shell.ts';

/** The system's time, moved: it begins one second into a minute, and can be moved on. */
class MovedClock implements Clock {
  #offsetMs = 61_000 - (systemClock.nowMs() % 60_000);
  nowMs = (): number => systemClock.nowMs() + this.#offsetMs;
  sleep = (durationMs: number): Promise<void> => systemClock.sleep(durationMs);
  advance(seconds: number): void {
    this.#offsetMs += seconds * 1000;
  }
}

type Running = { site: Site; queue: MemoryQueue; server: ServerType };

const adminToken = 'fs_admin_of_the_transcripts';
const quietLooks = 3;
const quietLookMs = 4;
const settleMaxMs = 30_000;

export class World {
  readonly home = mkdtempSync(join(tmpdir(), 'farside-transcript-'));
  readonly clock = new MovedClock();
  readonly log: string[] = [];
  readonly #running: Running[] = [];
  readonly #shell = new Shell({
    home: this.home,
    folder: join(this.home, 'files'),
    clock: this.clock,
    functions: cephFunction,
  });
  #areReplaying = false;

  static async start(names: readonly string[]): Promise<World> {
    const world = new World();
    for (const name of names) await world.#startSite(name);
    return world;
  }

  async #startSite(name: string): Promise<void> {
    const deps = { clock: this.clock, random: systemRandom };
    const log = (line: string): void => void this.log.push(`${name}: ${line}`);
    const directory = join(this.home, name);
    mkdirSync(join(directory, 'bucket'), { recursive: true });
    const bucket = new Bucket(new FileDriver(join(directory, 'bucket')), deps);
    const queue = new MemoryQueue({ ...deps, log });
    const port = await choosePort(systemRandom);
    const url = `http://${loopback}:${port}`;
    const adminTokenHash = createHash('sha256').update(adminToken).digest('hex');
    const secret = Buffer.alloc(32, name).toString('base64');
    const config = { name, url, platform: 'node', adminTokenHash, secret };
    const site = new Site({ ...deps, bucket, queue, fetch: (input, init) => fetch(input, init), config, log });
    await site.start();
    const server = serve({ fetch: (request) => site.fetch(request), port, hostname: loopback });
    this.#running.push({ site, queue, server });
    await registerSite(this.home, { name, url, token: adminToken, platform: 'node', directory });
  }

  /** From now on the sites work by themselves, as with rbd-mirror running; before, they only answer. */
  startReplaying(): void {
    this.#areReplaying = true;
    for (const { site, queue } of this.#running) queue.start(site);
  }

  /** One tick at each site, and all that follows from it and from what was asked before. */
  async settle(): Promise<void> {
    if (!this.#areReplaying) return;
    for (const { site } of this.#running) await site.tick(this.clock.nowMs());
    const endMs = systemClock.nowMs() + settleMaxMs;
    for (let quiet = 0; quiet < quietLooks && systemClock.nowMs() < endMs;) {
      await systemClock.sleep(quietLookMs);
      quiet = this.#running.every(({ queue }) => queue.backlog().due + queue.backlog().handling === 0) ? quiet + 1 : 0;
    }
  }

  /** A command line of rbd's, with `farside` for `rbd`. */
  run(line: string): Promise<Said> {
    return this.#shell.run(line);
  }

  async stop(): Promise<void> {
    for (const { queue, server } of this.#running) {
      await queue.stop();
      if ('closeAllConnections' in server) server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** `ceph` makes pools in the recordings, which rbd cannot; and removes them, at the end of a recording only. */
const cephFunction = `
ceph() {
  [ "$3 $4 $5" = 'osd pool create' ] || { echo "pool '$6' removed" >&2; return 0; }
  farside --cluster "$2" pool create "$6" && echo "pool '$6' created" >&2
}
`;
