import { describe, expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import type { Message, Outcome } from '../../lib/mirror/messages.ts';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { MemoryQueue, type MemoryQueueSettings } from '../../lib/site/queue-memory.ts';
import { settled, VirtualClock } from './virtual-clock.ts';

const ack: Outcome = { kind: 'ack' };
const poll = (peerUuid: string): Message => ({ type: 'poll', pool: 'rbd', peerUuid });

function setUp(settings: Partial<MemoryQueueSettings> = {}) {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const random = { bytes: () => new Uint8Array(), uuid: () => '', fraction: () => 1 };
  const queue = new MemoryQueue({ clock, random, log: (line) => void lines.push(line) }, settings);
  const dead: { message: unknown; why: string }[] = [];
  const deadLetter = async (message: unknown, why: string): Promise<void> => void dead.push({ message, why });
  return { clock, queue, lines, dead, deadLetter };
}

describe('memory queue', () => {
  test('a message sent before the start is handled after it, as a copy', async () => {
    const { queue, deadLetter } = setUp();
    const sent = poll('a');
    await queue.send([sent]);
    const handled: unknown[] = [];
    queue.start({ handle: async (message) => (handled.push(message), ack), deadLetter });
    await settled();
    expect(handled).toEqual([sent]);
    expect(handled[0]).not.toBe(sent);
  });

  test('a delayed message is not handled before its time', async () => {
    const { clock, queue, deadLetter } = setUp();
    const handledAtMs: number[] = [];
    queue.start({ handle: async () => (handledAtMs.push(clock.nowMs()), ack), deadLetter });
    await queue.send([poll('a')], { delayMs: 5000 });
    expect(queue.backlog()).toEqual({ due: 0, delayed: 1, handling: 0 });
    await clock.advance(60_000);
    expect(handledAtMs).toEqual([5000]);
  });

  test('no more handlers run at once than the setting says, and the others follow', async () => {
    const { clock, queue, deadLetter } = setUp({ handledAtOnceMax: 4 });
    let running = 0;
    let runningMost = 0;
    let handled = 0;
    const handle = async (): Promise<Outcome> => {
      runningMost = Math.max(runningMost, ++running);
      await clock.sleep(10);
      running -= 1;
      handled += 1;
      return ack;
    };
    queue.start({ handle, deadLetter });
    await queue.send(Array.from({ length: 21 }, (_, index) => poll(String(index))));
    await clock.advance(1000);
    expect({ runningMost, handled }).toEqual({ runningMost: 4, handled: 21 });
  });

  test('a throwing handler is called again after growing delays, and the log says why', async () => {
    const { clock, queue, lines, deadLetter } = setUp();
    const attemptsAtMs: number[] = [];
    const handle = async (): Promise<Outcome> => {
      attemptsAtMs.push(clock.nowMs());
      if (attemptsAtMs.length < 4) throw new FarsideError('EHOSTUNREACH', 'peer is away', { retry: 'later' });
      return ack;
    };
    queue.start({ handle, deadLetter });
    await queue.send([poll('a')]);
    await clock.advance(60_000);
    expect(attemptsAtMs).toEqual([0, 1000, 3000, 7000]);
    expect(lines[0]).toBe("message 'poll' failed (attempt 1): EHOSTUNREACH: peer is away");
  });

  test('a message that is never handled becomes a dead letter after the last retry', async () => {
    const { clock, queue, dead, deadLetter } = setUp();
    let attempts = 0;
    queue.start({ handle: async () => (attempts++, { kind: 'retry', delayMs: 1 }), deadLetter });
    await queue.send([poll('a')]);
    await clock.advance(60_000);
    expect(attempts).toBe(deliverySettings.retriesMax + 1);
    expect(dead).toEqual([{ message: poll('a'), why: 'not handled after 11 attempts' }]);
    expect(queue.backlog()).toEqual({ due: 0, delayed: 0, handling: 0 });
  });

  test('a dead letter that cannot be recorded is logged, and the queue goes on', async () => {
    const { clock, queue, lines } = setUp({ retriesMax: 0 });
    const handled: unknown[] = [];
    queue.start({
      handle: async (message) => (handled.push(message), handled.length === 1 ? { kind: 'retry', delayMs: 0 } : ack),
      deadLetter: () => Promise.reject(new FarsideError('EIO', 'bucket is away')),
    });
    await queue.send([poll('a'), poll('b')]);
    await clock.advance(1000);
    expect(handled).toHaveLength(2);
    expect(lines).toEqual(['a dead letter could not be recorded: EIO: bucket is away']);
  });

  test('stop waits for the handlers that run and starts no further one', async () => {
    const { clock, queue, deadLetter } = setUp({ handledAtOnceMax: 1 });
    let handled = 0;
    queue.start({ handle: async () => (await clock.sleep(10), handled++, ack), deadLetter });
    await queue.send([poll('a'), poll('b')]);
    await queue.send([poll('c')], { delayMs: 20 });
    let stopped = false;
    const stopping = queue.stop().then(() => (stopped = true));
    await settled();
    expect(stopped).toBe(false);
    await clock.advance(1000);
    await stopping;
    expect(handled).toBe(1);
  });

  test('a full backlog refuses a send as a whole with EAGAIN', async () => {
    const { queue } = setUp({ backlogMessagesMax: 2 });
    await queue.send([poll('a')]);
    await expect(queue.send([poll('b'), poll('c')])).rejects.toMatchObject({ code: 'EAGAIN', retry: 'later' });
    expect(queue.backlog().due).toBe(1);
  });
});
