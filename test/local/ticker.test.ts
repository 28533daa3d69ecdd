import { describe, expect, test } from 'vitest';
import { nextSlotMs, startTicker } from '../../infra/local/ticker.ts';
import { VirtualClock } from '../site/virtual-clock.ts';

function setUp(work: (nowMs: number, clock: VirtualClock) => Promise<void>, nowMs = 1_000_010_000) {
  const clock = new VirtualClock(nowMs);
  const tick = (slotMs: number): Promise<void> => work(slotMs, clock);
  const lines: string[] = [];
  const ticker = startTicker({ clock, intervalMs: 60_000, tick, log: (line) => void lines.push(line) });
  return { clock, ticker, lines };
}

describe('ticker', () => {
  test('ticks at once, then at every whole minute', async () => {
    const ticksMs: number[] = [];
    const { clock, ticker } = setUp(async (nowMs) => void ticksMs.push(nowMs));
    await clock.advance(130_000);
    expect(ticksMs).toEqual([1_000_010_000, 1_000_020_000, 1_000_080_000, 1_000_140_000]);
    await ticker.stop();
  });

  test('a slow tick is not overlapped, and swallows those that it missed', async () => {
    const ticksMs: number[] = [];
    let running = 0;
    let overlaps = 0;
    const { clock } = setUp(async (nowMs, itsClock) => {
      ticksMs.push(nowMs);
      overlaps += running;
      running += 1;
      await itsClock.sleep(150_000);
      running -= 1;
    });
    await clock.advance(360_000);
    expect(overlaps).toBe(0);
    expect(ticksMs).toEqual([1_000_010_000, 1_000_200_000]);
  });

  test('a failed tick is logged and the next one comes', async () => {
    let ticks = 0;
    const { clock, lines } = setUp(() => Promise.reject(new Error(`failure ${(ticks += 1)}`)));
    await clock.advance(20_000);
    expect(ticks).toBe(2);
    expect(lines[0]).toContain('tick failed: Error: failure 1');
  });

  test('stop ends the wait at once and lets a running tick finish', async () => {
    let finished = 0;
    const { clock, ticker } = setUp(async (_nowMs, itsClock) => {
      await itsClock.sleep(5000);
      finished += 1;
    });
    await clock.advance(1);
    const stopping = ticker.stop();
    await clock.advance(5000);
    await stopping;
    expect(finished).toBe(1);
  });

  test('the next slot is never now', () => {
    expect([59_999, 60_000, 60_001].map((nowMs) => nextSlotMs(nowMs, 60_000))).toEqual([60_000, 120_000, 120_000]);
  });
});
