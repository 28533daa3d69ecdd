// Owns the heartbeat of a local site, which cron gives a deployed one: a tick at once (queued messages were lost at the last
// stop), then one at every whole multiple of the interval. Ticks never overlap; a tick that runs late swallows those it missed.

import type { Clock } from '../../lib/clock.ts';
import { describeFailure } from '../../lib/site/delivery.ts';

export type TickerOptions = {
  clock: Clock;
  intervalMs: number;
  tick: (nowMs: number) => Promise<void>;
  log: (line: string) => void;
};

export type Ticker = { stop(): Promise<void> };

export function startTicker(options: TickerOptions): Ticker {
  const stopping = Promise.withResolvers<void>();
  let stopped = false;
  const running = run(options, stopping.promise, () => stopped);
  return {
    stop: async () => {
      stopped = true;
      stopping.resolve();
      await running;
    },
  };
}

async function run(options: TickerOptions, stopping: Promise<void>, isStopped: () => boolean): Promise<void> {
  const { clock, intervalMs } = options;
  let slotMs = clock.nowMs();
  while (!isStopped()) {
    await tickOnce(options, slotMs, isStopped);
    slotMs = nextSlotMs(clock.nowMs(), intervalMs);
    await Promise.race([clock.sleep(slotMs - clock.nowMs()), stopping]);
  }
}

/** A failed tick is one line in the log: the next one does its work. So is one that the stop of the site cut short. */
async function tickOnce({ tick, log }: TickerOptions, slotMs: number, isStopped: () => boolean): Promise<void> {
  try {
    await tick(slotMs);
  } catch (cause) {
    log(isStopped() ? 'the last tick was cut short' : `tick failed: ${describeFailure(cause)}`);
  }
}

export function nextSlotMs(nowMs: number, intervalMs: number): number {
  return (Math.floor(nowMs / intervalMs) + 1) * intervalMs;
}
