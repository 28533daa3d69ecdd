// Owns the choice of a port for a new site. The port is kept for the site's life (peers record its URL), so it is drawn from
// below the range that operating systems hand to outgoing connections: those could hold it when the site restarts.

import { createServer } from 'node:net';
import { systemClock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';

export const loopback = '127.0.0.1';

const portMin = 20_000;
const portCount = 12_000;
const triesMax = 50;

/** The kernel gives back the port of a killed process only when the last of its threads is gone, which may be after the process. */
const releaseWaitMs = 5000;
const releasePollMs = 50;

export async function choosePort(random: Random): Promise<number> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const port = portMin + Math.floor(random.fraction() * portCount);
    if (await isFree(port)) return port;
  }
  throw new FarsideError(
    'EBUSY',
    `no free port found between ${portMin} and ${portMin + portCount - 1}: choose one with --port`,
  );
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, loopback, () => server.close(() => resolve(true)));
  });
}

/** Throws EBUSY when something listens there and goes on to. */
export async function checkPortFree(port: number): Promise<void> {
  for (let waitedMs = 0; !(await isFree(port)); waitedMs += releasePollMs) {
    if (waitedMs >= releaseWaitMs) throw portInUse(port);
    await systemClock.sleep(releasePollMs);
  }
}

export function portInUse(port: number, cause?: unknown): FarsideError {
  return new FarsideError('EBUSY', `port ${port} is in use: stop what holds it, or move the site with --port`, {
    cause,
  });
}
