// Owns bugs on purpose, one for each invariant, to show that the checker catches them. They go in at the seams of a simulation
// (buckets, peers, ticks, commands); the library itself has no switch for them.

import { keyText, parseKey } from '../../lib/bucket/keys.ts';
import { readHeader, updateHeader } from '../../lib/image/access.ts';
import { mirrorSnapshots, type Header } from '../../lib/image/header.ts';
import { withoutChildren } from '../../lib/image/clones/lineage.ts';
import { fenceBytes } from '../../lib/image/format/fence.ts';
import { changed, drawn } from '../../lib/mirror/verbs/images.ts';
import { recentPool } from '../../lib/mirror/pool.ts';
import type { Peer, PeerImage } from '../../lib/mirror/peer-protocol.ts';
import { primarySnapshot } from '../../lib/mirror/roles/role-changes.ts';
import { promotionState } from '../../lib/mirror/roles/roles.ts';
import { changes } from './image-view.ts';
import { Operation } from './operation.ts';
import { plantedJournalBugs } from './planted-journal-bugs.ts';
import type { Simulation, SimulationOptions } from './simulation.ts';
import type { SimulatedSite } from './simulated-site.ts';
import type { InvariantName } from './violation.ts';
import { pool, specOf } from './workload.ts';

export type PlantedBug = {
  name: string;
  invariant: InvariantName;
  plant: Omit<SimulationOptions, 'seed'>;
};

const minuteMs = 60_000;

const everyNth = (n: number): (() => boolean) => {
  let count = 0;
  return () => ++count % n === 0;
};

const kindOf = (key: string): string | undefined => parseKey(key)?.kind;

/** Every put of this kind is real but each nth, which is answered and forgotten. */
function forgetPuts(kind: 'pack' | 'header' | 'slot', n: number): (world: Simulation) => void {
  return (world) => {
    for (const { driver } of world.sites) {
      const isForgotten = everyNth(n);
      driver.sabotagePut = (key) =>
        kindOf(key) === kind && isForgotten() ? { status: 'stored', etag: 'never stored' } : undefined;
    }
  };
}

/** Whoever attaches an image believes that the writer before was shut out. */
function forgetFences(world: Simulation): void {
  for (const { driver } of world.sites)
    driver.sabotagePut = (key, body) =>
      kindOf(key) === 'slot' && body.length === fenceBytes ? { status: 'stored', etag: 'never stored' } : undefined;
}

/** Who wants a writer to hold still is told that it does. */
function answerAtOnce(world: Simulation): void {
  for (const { driver } of world.sites)
    driver.sabotageBody = (key, body) => {
      if (kindOf(key) !== 'header') return undefined;
      const document = JSON.parse(Buffer.from(body).toString());
      const { journal }: Header = document.value;
      if (journal?.quiesce?.state !== 'asked') return undefined;
      journal.quiesce = { ...journal.quiesce, state: 'quiesced', seq: journal.folded.seq };
      return Buffer.from(JSON.stringify(document));
    };
}

/** A pool that goes into mode `pool` looks at none of the images that it has. */
function lookAtNone(world: Simulation): void {
  for (const { driver } of world.sites)
    driver.sabotageBody = (key, body) => {
      if (kindOf(key) !== 'pool') return undefined;
      const document = JSON.parse(Buffer.from(body).toString());
      for (const one of [document.value.mirror, ...(document.value.namespaces ?? [])]) delete one?.walkAfter;
      return Buffer.from(JSON.stringify(document));
    };
}

/** A collection that takes one pack more. */
function collectTooMuch(world: Simulation): void {
  for (const { name, driver } of world.sites) {
    driver.sabotageDelete = (keys) => {
      const first = parseKey(keys[0] ?? '');
      const isCollected = first?.kind === 'pack' || first?.kind === 'slot' || first?.kind === 'collect';
      const truth = isCollected ? world.truth.site(name)?.images.get(first.imageId) : undefined;
      const alive =
        truth?.header.root &&
        [...driver.objects.keys()].find((key) => key.endsWith(`/packs/${truth.header.root!.pack}`));
      return alive ? [...keys, alive] : keys;
    };
  }
}

/** Changes what a peer says about an image. */
const misreport =
  (change: (image: Extract<PeerImage, { status: 'present' }>, from: SimulatedSite, globalId: string) => void) =>
  (peer: Peer, from: SimulatedSite): Peer =>
    new Proxy(peer, {
      get(target, property) {
        const real: unknown = Reflect.get(target, property, target);
        if (property !== 'image') return typeof real === 'function' ? real.bind(target) : real;
        return async (globalId: string) => {
          const image = await target.image(globalId);
          if (image.status === 'present') change(image, from, globalId);
          return image;
        };
      },
    });

/** The newest snapshot with the data of the one before. */
function tear(image: Extract<PeerImage, { status: 'present' }>): void {
  const [before, newest] = image.snapshots.slice(-2);
  if (before && newest) newest.root = before.root;
}

function headerOf(site: SimulatedSite, globalId: string): Header | undefined {
  for (const [key, body] of site.driver.objects) {
    if (kindOf(key) !== 'header') continue;
    const header: Header = JSON.parse(body.toString()).value;
    if (header.mirror?.globalId === globalId && !header.removing) return header;
  }
  return undefined;
}

/** Claims that the primary descends from whatever the other site holds. */
function hideDivergence(image: Extract<PeerImage, { status: 'present' }>, from: SimulatedSite, globalId: string): void {
  const header = headerOf(from, globalId);
  const newest = header && mirrorSnapshots(header).at(-1);
  if (!newest) return;
  const { state, primaryMirrorUuid, primarySnapId } = newest.namespace;
  const isOwn = state === 'primary' || state === 'primary-demoted';
  const point = isOwn
    ? { primaryMirrorUuid: mirrorUuidOf(from), primarySnapId: newest.id }
    : { primaryMirrorUuid, primarySnapId };
  const { primaryMirrorUuid: uuid, primarySnapId: snapId } = point;
  if (uuid === undefined || snapId === undefined || uuid === image.mirrorUuid) return;
  const copy = {
    ...newest.namespace,
    state: 'non-primary' as const,
    mirrorPeerUuids: [],
    primaryMirrorUuid: uuid,
    primarySnapId: snapId,
  };
  image.snapshots.unshift({ ...newest, id: 0, namespace: copy });
}

function mirrorUuidOf(site: SimulatedSite): string | undefined {
  const body = site.driver.objects.get(keyText({ kind: 'pool', pool }));
  return body && JSON.parse(body.toString()).value.mirror?.mirrorUuid;
}

/** After each tick, takes the newest slot of every scheduled primary image, without asking whether it was taken. */
async function takeSlotsAgain(site: SimulatedSite): Promise<void> {
  await site.tick();
  const { deps } = site;
  const value = await recentPool(deps, pool);
  const peers = value.peers.map(({ uuid }) => uuid);
  for (const [key] of site.driver.objects) {
    const parsed = parseKey(key);
    const header = parsed?.kind === 'header' ? (await readHeader(deps, parsed.imageId))?.value : undefined;
    const slotMs =
      header && mirrorSnapshots(header).findLast(({ namespace }) => namespace.slotMs !== undefined)?.namespace.slotMs;
    if (!header || slotMs === undefined || promotionState(mirrorSnapshots(header)) !== 'primary') continue;
    const now = await drawn(deps, value, header);
    const take = (current: Header): Header =>
      changed(deps, current, primarySnapshot(mirrorSnapshots(current), peers), value, {
        ...now,
        slotMs,
      });
    await updateHeader(deps, header.imageId, take, { byMirroring: true });
  }
}

/** A client that writes to whatever it finds, through mirroring's own door. */
function writeAnyway(world: Simulation): void {
  let left = 20;
  const again = (): void => {
    if (left-- === 0) return;
    world.scheduler.after(minuteMs, world.scheduler.world, () => {
      for (const { name } of world.sites) {
        for (const { view } of world.truth.site(name)!.images.values()) {
          const effects = [{ type: 'write' as const, change: changes.meta('rogue', 'yes') }];
          const operation = new Operation({
            what: `rogue ${view.name}`,
            siteName: name,
            imageName: view.name,
            effects,
          });
          const write = (header: Header): Header => ({
            ...header,
            meta: { ...header.meta, rogue: 'yes' },
          });
          world.start({
            operation,
            where: 'client',
            run: (deps) => updateHeader(deps, specOf(view.name), write, { byMirroring: true }),
          });
        }
      }
      again();
    });
  };
  again();
}

/** After each tick, lets go of the clones that images have. */
async function forgetClones(site: SimulatedSite): Promise<void> {
  await site.tick();
  for (const key of site.driver.objects.keys()) {
    const parsed = parseKey(key);
    if (parsed?.kind !== 'header' || !(await readHeader(site.deps, parsed.imageId))) continue;
    const forget = (header: Header): Header | undefined => withoutChildren(header, () => true);
    await updateHeader(site.deps, parsed.imageId, forget, { byMirroring: true });
  }
}

/** As a poll that asks for every image would. */
async function tickDearly(site: SimulatedSite): Promise<void> {
  await site.tick();
  for (let count = 0; count < 50; count++) await site.deps.bucket.head(site.deps.site.siteId);
}

const plantedElsewhere: readonly PlantedBug[] = [
  {
    name: 'a bucket forgets packs that it said it stored',
    invariant: 'I1',
    plant: { sabotage: forgetPuts('pack', 20) },
  },
  {
    name: 'a replica gets the data of one snapshot with the state of another',
    invariant: 'I2',
    plant: { seams: { peer: misreport(tear) } },
  },
  {
    name: 'a schedule takes a slot again',
    invariant: 'I3',
    plant: { seams: { tick: takeSlotsAgain } },
  },
  { name: 'ticks do not poll', invariant: 'I4', plant: { seams: { tick: async () => {} } } },
  {
    name: 'a pool that goes into mode pool leaves out the images that it has',
    invariant: 'I4',
    plant: { focus: 'features', isSilentAfter: true, sabotage: lookAtNone },
  },
  {
    name: 'a bucket acknowledges swaps of headers that it forgets',
    invariant: 'I5',
    plant: { sabotage: forgetPuts('header', 12) },
  },
  {
    name: 'a bucket forgets slots of journals that it said it stored',
    invariant: 'I5',
    plant: { focus: 'writers', sabotage: forgetPuts('slot', 3) },
  },
  {
    name: 'a snapshot is taken before the writer holds still',
    invariant: 'I5',
    plant: { focus: 'stillness', sabotage: answerAtOnce },
  },
  {
    name: 'a writer is not shut out by the next',
    invariant: 'I6',
    plant: { focus: 'writers', sabotage: forgetFences },
  },
  {
    name: 'a collection takes a pack that is in use',
    invariant: 'I7',
    plant: { sabotage: collectTooMuch },
  },
  {
    name: 'an image forgets its clones',
    invariant: 'I7',
    plant: { seams: { tick: forgetClones } },
  },
  {
    name: 'a writer does not ask whether the image is primary',
    invariant: 'I8',
    plant: { sabotage: writeAnyway },
  },
  {
    name: 'a site denies that histories have diverged',
    invariant: 'I9',
    plant: { seams: { peer: misreport(hideDivergence) } },
  },
  {
    name: 'a tick that costs more than it should',
    invariant: 'I11',
    plant: { seams: { tick: tickDearly } },
  },
];

const numberOf = ({ invariant }: PlantedBug): number => Number(invariant.slice(1));

export const plantedBugs: readonly PlantedBug[] = [...plantedElsewhere, ...plantedJournalBugs].toSorted(
  (a, b) => numberOf(a) - numberOf(b),
);
