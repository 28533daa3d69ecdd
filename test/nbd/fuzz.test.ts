// Seeded garbage against the server: whole sessions, mutated, cut anywhere, and left at any moment. It must survive, serve others
// meanwhile, and keep nothing of them.
//
//   SEED=17 SEEDS=1 npx vitest run test/nbd/fuzz.test.ts

import { connect } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seededRandom } from '../image/model.ts';
import { mutated, mutations } from '../mutations.ts';
import type { Random } from '../../lib/random.ts';
import { MemoryDevice } from './memory-device.ts';
import { exportRequest, metaRequest, requestHeader, text, uint32 } from './raw-client.ts';
import { serve, until, type Served } from './served.ts';
import { usedBytes } from './used-memory.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const first = Number(process.env['SEED'] ?? 1);
const seedCount = Number(process.env['SEEDS'] ?? 6);
const sessionsPerSeed = 500;
const sessionsAtOnce = 16;
/** Of a client that waits for the server to hang up. */
const patienceMs = 500;
/** Collected garbage aside, what thousands of sessions may leave in memory. */
const leftBytesMax = 4 * MiB;

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random.fraction() * from.length)]!;
const below = (random: Random, limit: number): number => Math.floor(random.fraction() * limit);

const names = ['disk', '', 'locked', 'nothing', 'x'.repeat(5000), 'a\0b'];

function anOption(random: Random): Buffer {
  const code = pick(random, [2, 3, 5, 6, 7, 8, 9, 10, 11, 99]);
  const data = pick(random, [
    () => Buffer.alloc(0),
    () => exportRequest(pick(random, names), [0, 1, 2, 3]),
    () => metaRequest(pick(random, names), ['base:allocation', 'base:', 'x:y'].slice(below(random, 3))),
    () => Buffer.from(random.bytes(below(random, 200))),
    () => Buffer.alloc(70 * KiB),
  ])();
  return Buffer.concat([Buffer.from('IHAVEOPT'), uint32(code), uint32(data.length), data]);
}

function aRequest(random: Random): Buffer {
  const type = pick(random, [0, 0, 1, 1, 1, 3, 4, 5, 6, 7, 8, 200]);
  const length = pick(random, [0, 1, 511, 4096, 65_537, 200 * KiB, 33 * MiB, 2 ** 32 - 1]);
  const isLong = type === 1 && length > 200 * KiB;
  const header = requestHeader(type, {
    flags: pick(random, [0, 0, 0, 1, 2, 4, 8, 16, 31, 0xffff]),
    offset: pick(random, [0, 1, 4096, MiB, 4 * MiB - 1, 4 * MiB, 2 ** 53 - 1]),
    length,
    cookie: below(random, 2 ** 32),
  });
  return Buffer.concat([header, Buffer.alloc(type === 1 && !isLong ? length : 0, 1)]);
}

const option = (code: number, data: Buffer): Buffer =>
  Buffer.concat([Buffer.from('IHAVEOPT'), uint32(code), uint32(data.length), data]);

/** A session as a client might have it, but for odd options and requests. */
function aSession(random: Random): Buffer {
  const options = Array.from({ length: pick(random, [0, 0, 1, 3]) }, () => anOption(random));
  const agreed = [
    option(8, Buffer.alloc(0)),
    option(10, metaRequest('disk', ['base:allocation'])),
    option(7, exportRequest('disk')),
  ];
  const old = [option(1, Buffer.from('disk'))];
  const requests = Array.from({ length: below(random, 12) }, () => aRequest(random));
  const end = random.fraction() < 0.5 ? [requestHeader(2, { flags: 0, offset: 0, length: 0, cookie: 0 })] : [];
  return Buffer.concat([
    uint32(pick(random, [3, 3, 3, 3, 3, 0, 1, 7])),
    ...options,
    ...pick(random, [agreed, agreed, agreed, old, []]),
    ...requests,
    ...end,
  ]);
}

/** Sends a session in pieces and leaves, politely or not. */
async function attack(served: Served, session: Buffer, random: Random): Promise<void> {
  const { path } = served.server.addresses[0] as { path: string };
  const socket = connect(path);
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  if (random.fraction() < 0.9) socket.resume();
  for (let at = 0; at < session.length && !socket.destroyed;) {
    const length = 1 + below(random, pick(random, [4, 64, 5000, 300_000]));
    socket.write(session.subarray(at, at + length));
    at += length;
    if (random.fraction() < 0.2) await turns(1);
  }
  if (random.fraction() < 0.5) socket.end();
  else await turns(below(random, 30)).then(() => socket.destroy());
  const impatience = setTimeout(() => socket.destroy(), patienceMs);
  await closed;
  clearTimeout(impatience);
}

/** Of the event loop, in which the server gets on too. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function attackMany(served: Served, seed: number): Promise<void> {
  const changes = fc.sample(mutations, { seed, numRuns: sessionsPerSeed });
  let next = 0;
  const attackers = Array.from({ length: sessionsAtOnce }, async () => {
    for (let index = next++; index < sessionsPerSeed; index = next++) {
      const random = seededRandom(seed * 100_003 + index);
      const session = aSession(random);
      await attack(served, random.fraction() < 0.8 ? mutated(session, changes[index]!) : session, random);
    }
  });
  await Promise.all(attackers);
}

test('thousands of mutated sessions: the server survives, serves others meanwhile, and keeps nothing of them', async () => {
  const disk = new MemoryDevice(4 * MiB);
  disk.poke(0, Buffer.alloc(4 * MiB, 9));
  disk.isNoting = true;
  const calm = new MemoryDevice(MiB);
  const limits = { connectionBytesMax: 64 * MiB, connectionCountMax: 64 };
  const served = await serve({ disk, calm, locked: new MemoryDevice(MiB, { readOnly: true }) }, { limits });
  const neighbour = await served.client();
  await neighbour.go('calm');
  const used: number[] = [];
  for (let seed = first; seed < first + seedCount; seed++) {
    await attackMany(served, seed);
    await until(() => served.server.status.connectionCount === 1, `seed ${seed}: only the neighbour is left`);
    expect(served.server.status.inFlightBytes, `seed ${seed}`).toBe(0);
    expect(served.failures, `seed ${seed}`).toEqual([]);
    expect(await neighbour.ask(1, { data: text(`seed ${seed}`) }), `seed ${seed}`).toBe(0);
    for (const name of ['read', 'write', 'zero', 'discard', 'flush', 'extents'])
      expect(disk.calls.filter((call) => call.startsWith(name)).length, `seed ${seed}: ${name}`).toBeGreaterThan(2);
    disk.calls = [];
    used.push(usedBytes());
  }
  expect(used.at(-1)! - used[0]!).toBeLessThan(leftBytesMax);
}, 240_000);
