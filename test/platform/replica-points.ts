// What a replica that follows a journal has held: its root, and what each segment that it copied made of it. Every one of them is a
// point at which it may be promoted.

import { expect } from 'vitest';
import { prefixes } from '../../lib/bucket/keys.ts';
import { systemClock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { mirrorSnapshots, type MirrorSnapshot } from '../../lib/image/header.ts';
import { parseEpochId } from '../../lib/image/ids.ts';
import { openStore, type PackStore } from '../../lib/image/packs/pack-store.ts';
import { entryKind } from '../../lib/image/format/pack.ts';
import { readRange } from '../../lib/image/map/read.ts';
import type { Segment } from '../../lib/image/journal/segment.ts';
import { segmentsFrom } from '../../lib/image/journal/slots.ts';
import { systemRandom } from '../../lib/random.ts';
import { imageIdOf, specOf } from './mirror-pair.ts';
import { waitUntil, type Site } from './sites.ts';

const followWaitMs = 60_000;
const lookEveryMs = 100;
/** Far more than a test writes. */
const segmentsMax = 1000;

const depsOf = (site: Site): ImageDeps => ({
  bucket: site.bucket(),
  clock: systemClock,
  random: systemRandom,
  settings: settingsDefault,
});

const wait = (isTrue: () => Promise<boolean>, what: string): Promise<void> =>
  waitUntil(isTrue, what, followWaitMs, lookEveryMs);

type Ways = { from: Site; to: Site };

/** Waits until `to` stands at the newest point of `from`, of an image that is mirrored by its journal. */
export async function waitAtPoint(image: string, { from, to }: Ways): Promise<void> {
  const target = (await newestPoint(from, image))?.id;
  expect(target).toBeDefined();
  const isThere = async (): Promise<boolean> => (await newestPoint(to, image))?.namespace.primarySnapId === target;
  await wait(isThere, `${to.name} stands at point ${target} of ${image}`);
}

/** Undefined: there is no such image yet. */
async function newestPoint(site: Site, image: string): Promise<MirrorSnapshot | undefined> {
  try {
    return mirrorSnapshots((await openHeader(depsOf(site), specOf(image))).value).at(-1);
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Waits until `to` has the newest slot of the open journal of `from`; with a write-ahead log that gets its first a little later. */
export async function waitFollowed(image: string, { from, to }: Ways): Promise<void> {
  let newest: string | undefined;
  await wait(async () => (newest = await newestSlot(from, image)) !== undefined, `${from.name} has a slot of ${image}`);
  await wait(async () => (await newestSlot(to, image)) === newest, `${to.name} has slot ${newest} of ${image}`);
}

/** Its key, without the image. */
async function newestSlot(site: Site, image: string): Promise<string | undefined> {
  const prefix = prefixes.journal(await imageIdOf(site, image));
  let newest: string | undefined;
  for await (const { key } of site.bucket().listAll(prefix)) newest = key.slice(prefix.length);
  return newest;
}

/** From its root on, in the order in which it held them. Each is good until the next is asked for. */
export async function* replicaPoints(site: Site, image: string): AsyncGenerator<Buffer> {
  const deps = depsOf(site);
  const { value: header } = await openHeader(deps, specOf(image));
  expect(header.journal?.state).toBe('following');
  const store = openStore(deps, header);
  const whole = { offset: 0, length: header.sizeBytes };
  const content = Buffer.from(await readRange(store, header.root, header.objectBytes, whole));
  yield content;
  const { epoch, seq } = header.journal!.folded;
  const slot = { epoch: parseEpochId(epoch), seq };
  for await (const segment of segmentsFrom(deps, header.imageId, slot, segmentsMax)) {
    await applySegment(store, content, segment);
    yield content;
  }
}

/** What it holds in the end. */
export async function followedContent(site: Site, image: string): Promise<Buffer> {
  let newest: Buffer = Buffer.alloc(0);
  for await (const point of replicaPoints(site, image)) newest = point;
  return newest;
}

async function applySegment(store: PackStore, content: Buffer, { pack, changes }: Segment): Promise<void> {
  const blocks = await store.readEntries(
    pack,
    changes.flatMap(({ entry }) => entry ?? []),
    entryKind.block,
  );
  for (const { offset, length, entry } of changes) {
    if (entry === undefined) content.fill(0, offset, offset + length);
    else content.set(blocks.get(entry)!, offset);
  }
}
