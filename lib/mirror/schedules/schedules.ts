// Owns the stored schedules: schedules.json of the site (the global level) and of each pool (all levels below). The rules are
// in schedule.ts; here they are read, changed, listed, and asked what is due.
//
// A level for one image is stored under the image's id (`pool/@<id>`; no name has an at sign), as Ceph does: it follows a rename,
// ends with its image, and finding what is due needs no names.

import pLimit from 'p-limit';

import { createDocument, readDocument, updateDocument } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { openHeader, readHeader } from '../../image/access.ts';
import { assertPlace } from '../../image/names.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { readCatalog } from '../peers/catalog.ts';
import type { DocumentDeps } from '../limits.ts';
import type { Message } from '../messages.ts';
import { mirrorOf, readPool } from '../pool.ts';
import { promotionState } from '../roles/roles.ts';
import { quiesceError } from '../status/status-report.ts';
import {
  itemRows,
  itemsFor,
  latestSlotMs,
  levelSpec,
  mergeSchedules,
  nextSlotMs,
  scheduleDocumentSchema,
  scheduleItem,
  scheduleRows,
  schedulesOf,
  withItem,
  withoutItem,
  withSchedules,
} from './schedule.ts';
import type { ScheduleDocument, ScheduleKind, ScheduleLevel, ScheduleRow, Schedules } from './schedule.ts';

const headersMax = 16;
const none: ScheduleDocument = { levels: {} };

/** `of`: mirror snapshots unless it says otherwise. */
export type ScheduleTarget = ScheduleLevel & { of?: ScheduleKind };

const keyOf = (pool: string | undefined): string =>
  pool === undefined ? keyText({ kind: 'schedules' }) : keyText({ kind: 'pool-schedules', pool });
const idLevel = (imageId: string): string => `@${imageId}`;
const idOf = (image: string): string | undefined => (image.startsWith('@') ? image.slice(1) : undefined);

/** The stored schedules of a pool, or (undefined) of the global level. One read. */
export async function readSchedules(deps: DocumentDeps, pool: string | undefined): Promise<ScheduleDocument> {
  return (await readDocument(deps.bucket, keyOf(pool), scheduleDocumentSchema))?.value ?? none;
}

async function updateSchedules(
  deps: DocumentDeps,
  { pool, of = 'snapshot' }: ScheduleTarget,
  change: (schedules: Schedules) => Schedules | undefined,
): Promise<void> {
  const changed = (document: ScheduleDocument): ScheduleDocument | undefined => {
    const schedules = change(schedulesOf(document, of));
    return schedules && withSchedules(document, of, schedules);
  };
  const { bucket, random, clock } = deps;
  const update = () => updateDocument(bucket, keyOf(pool), scheduleDocumentSchema, random, clock, changed);
  if (await update()) return;
  const first = changed(none);
  if (first && !(await createDocument(deps.bucket, keyOf(pool), first, deps.random))) await update();
}

/** `schedule add`; adding twice is fine. EINVAL: interval, start time, level. */
export async function addSchedule(
  deps: DocumentDeps,
  target: ScheduleTarget,
  interval: string,
  startTime?: string,
): Promise<void> {
  const item = scheduleItem(interval, startTime);
  const spec = await storedSpec(deps, target);
  await updateSchedules(deps, target, (schedules) => withItem(schedules, spec, item));
}

/** `schedule remove`: one item, or without `interval` all of the level. Removing what is not there is fine. */
export async function removeSchedule(
  deps: DocumentDeps,
  target: ScheduleTarget,
  interval?: string,
  startTime?: string,
): Promise<void> {
  const item = interval === undefined ? undefined : scheduleItem(interval, startTime);
  const spec = await storedSpec(deps, target);
  await updateSchedules(deps, target, (schedules) => withoutItem(schedules, spec, item));
}

/** `schedule list` of one level: ENOENT when it has none of its own, as in rbd. */
export async function listSchedules(deps: DocumentDeps, target: ScheduleTarget): Promise<ScheduleRow['items']> {
  const spec = await storedSpec(deps, target);
  const items = schedulesOf(await readSchedules(deps, target.pool), target.of ?? 'snapshot').levels[spec];
  if (!items) throw new FarsideError('ENOENT', 'no schedule is set at this level');
  return itemRows(items);
}

/** `schedule list -R`: the level and all below. `pools`: the site's, for the global level. */
export async function listScheduleLevels(
  deps: DocumentDeps,
  target: ScheduleTarget,
  pools: readonly string[],
): Promise<ScheduleRow[]> {
  const { pool: one, of = 'snapshot' } = target;
  const spec = await storedSpec(deps, target);
  const wanted = one === undefined ? [undefined, ...pools] : [one];
  const documents = await Promise.all(wanted.map((pool) => readSchedules(deps, pool)));
  const schedules = documents.map((document) => schedulesOf(document, of)).reduce(mergeSchedules, { levels: {} });
  const rows = scheduleRows(schedules, spec);
  return (await Promise.all(rows.map((row) => namedRow(deps, row))))
    .filter((row) => row !== undefined)
    .toSorted(byNames);
}

/** With the image's name now; undefined when the image is gone, and its schedule with it. */
async function namedRow(deps: DocumentDeps, row: ScheduleRow): Promise<ScheduleRow | undefined> {
  const imageId = idOf(row.image);
  if (imageId === undefined) return row;
  const header = await readHeader(deps, imageId);
  return header && { ...row, namespace: header.value.namespace, image: header.value.name };
}

const byNames = (a: ScheduleRow, b: ScheduleRow): number => (sortText(a) < sortText(b) ? -1 : 1);
/** As level specs sort: a level before all that is below it. */
const sortText = ({ pool, namespace, image }: ScheduleRow): string =>
  pool === '-' ? '' : levelSpec({ pool, namespace: named(namespace), image: named(image) });
const named = (part: string): string | undefined => (part === '-' ? undefined : part);

/** The spec under which a level is stored, once it is known to exist. EINVAL. */
export async function storedSpec(deps: DocumentDeps, level: ScheduleTarget): Promise<string> {
  const fail = (why: string): FarsideError =>
    new FarsideError('EINVAL', `Invalid level spec ${levelSpec(level)}: ${why}`);
  const { pool, namespace, image, of = 'snapshot' } = level;
  if (of === 'purge' && image !== undefined) throw fail('the trash is of a pool or a namespace, not of an image');
  if (pool === undefined) {
    if (namespace === undefined && image === undefined) return '';
    throw new FarsideError('EINVAL', 'Invalid level spec: a namespace or image needs its pool');
  }
  const { value } = await readPool(deps, pool).catch(absent(() => fail(`pool ${pool} does not exist`)));
  if (namespace !== undefined && namespace !== '') {
    await assertPlace(deps, pool, namespace).catch(absent(() => fail(`namespace ${namespace} does not exist`)));
    if (of === 'snapshot' && mirrorOf(value, namespace)?.mode !== 'image')
      throw fail(`namespace ${namespace} is not in mirror image mode`);
  }
  if (image === undefined) return levelSpec(level);
  const stored = await openHeader(deps, { pool, namespace: namespace ?? '', image }).catch(
    absent(() => fail(`image ${image} does not exist`)),
  );
  if (stored.value.mirror?.mode !== 'snapshot') throw fail(`image ${image} is not in snapshot mirror mode`);
  return levelSpec({ pool, namespace, image: idLevel(stored.value.imageId) });
}

const absent =
  (refusal: () => FarsideError) =>
  (error: unknown): never => {
    throw error instanceof FarsideError && error.code === 'ENOENT' ? refusal() : error;
  };

/** `quiesce_error`: farside's; of the newest snapshot that the schedule took. */
export type ScheduleStatus = { schedule_time: string; image: string; quiesce_error?: string };

/** `schedule status`: when each primary image at or below the level is due next. Reads the header of every scheduled image. */
export async function scheduleStatus(
  deps: DocumentDeps,
  level: ScheduleLevel,
  pools: readonly string[],
): Promise<ScheduleStatus[]> {
  await storedSpec(deps, level);
  const global = schedulesOf(await readSchedules(deps, undefined), 'snapshot');
  const wanted = level.pool === undefined ? pools : [level.pool];
  const perPool = await Promise.all(wanted.map((pool) => poolScheduleStatus(deps, pool, level, global)));
  return perPool
    .flat()
    .toSorted((a, b) => (`${a.schedule_time} ${a.image}` < `${b.schedule_time} ${b.image}` ? -1 : 1));
}

async function poolScheduleStatus(
  deps: DocumentDeps,
  pool: string,
  level: ScheduleLevel,
  global: Schedules,
): Promise<ScheduleStatus[]> {
  const schedules = mergeSchedules(global, schedulesOf(await readSchedules(deps, pool), 'snapshot'));
  const scheduled = await scheduledImages(deps, pool, schedules);
  const limit = pLimit(headersMax);
  const rows = await Promise.all(
    scheduled.map(({ imageId, items }) =>
      limit(async () => {
        const dueMs = nextSlotMs(items, deps.clock.nowMs());
        const header = (await readHeader(deps, imageId))?.value;
        if (dueMs === undefined || !header || !isShown(header, level)) return [];
        return [
          {
            schedule_time: timeText(dueMs),
            image: levelSpec({ pool, namespace: header.namespace, image: header.name }),
            ...newestQuiesceError(header),
          },
        ];
      }),
    ),
  );
  return rows.flat();
}

function newestQuiesceError(header: Header): ReturnType<typeof quiesceError> {
  const newest = mirrorSnapshots(header).findLast(({ namespace }) => namespace.slotMs !== undefined);
  return newest ? quiesceError(newest.namespace) : {};
}

const isShown = (header: Header, { namespace, image }: ScheduleLevel): boolean =>
  promotionState(mirrorSnapshots(header)) === 'primary' &&
  (image === undefined || header.name === image) &&
  (namespace === undefined || header.namespace === namespace);

/** `YYYY-MM-DD HH:MM:00`, UTC. */
export const timeText = (timeMs: number): string =>
  `${new Date(timeMs).toISOString().slice(0, 16).replace('T', ' ')}:00`;

type ScheduledImage = { imageId: string; items: ReturnType<typeof itemsFor> };

/** Every mirrored image of a pool that some level schedules. One request when there is any schedule. */
async function scheduledImages(deps: DocumentDeps, pool: string, schedules: Schedules): Promise<ScheduledImage[]> {
  if (Object.keys(schedules.levels).length === 0) return [];
  return Object.values(await readCatalog(deps, pool))
    .map(({ imageId, namespace }) => ({
      imageId,
      items: itemsFor(schedules, { pool, namespace, image: idLevel(imageId) }),
    }))
    .filter(({ items }) => items.length > 0);
}

type SnapshotMessage = Extract<Message, { type: 'snapshot' }>;

/**
 * The slots of a pool's images that fell due after `sinceMs` and not after `nowMs`, only the newest of each image. Replicas
 * are among them: whether an image is primary, its header says. At most one request, however many images.
 * @param schedules of the site and of the pool
 */
export async function dueSnapshots(
  deps: DocumentDeps,
  pool: string,
  schedules: Schedules,
  time: { sinceMs: number; nowMs: number },
): Promise<SnapshotMessage[]> {
  const scheduled = await scheduledImages(deps, pool, schedules);
  return scheduled.flatMap(({ imageId, items }): SnapshotMessage[] => {
    const slotMs = latestSlotMs(items, time.nowMs);
    return slotMs !== undefined && slotMs > time.sinceMs ? [{ type: 'snapshot', pool, imageId, slotMs }] : [];
  });
}
