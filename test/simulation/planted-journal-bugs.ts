// Owns bugs on purpose in mirroring by the journal (planted-bugs.ts has the others).

import { keyText, parseKey } from '../../lib/bucket/keys.ts';
import { mirrorSnapshots, type Header } from '../../lib/image/header.ts';
import { parseEpochId } from '../../lib/image/ids.ts';
import type { Slot } from '../../lib/image/format/node.ts';
import { parsePackIndex } from '../../lib/image/format/pack.ts';
import { fenceBytes } from '../../lib/image/format/fence.ts';
import { encodeSegment, parseSegment, type NewChange } from '../../lib/image/journal/segment.ts';
import type { PackAnswer, Peer, PeerImage } from '../../lib/mirror/peer-protocol.ts';
import type { FaultDriver } from './fault-driver.ts';
import type { PlantedBug } from './planted-bugs.ts';
import type { Simulation } from './simulation.ts';
import type { SimulatedSite } from './simulated-site.ts';

const focus = 'journals';

/** A peer of which some answers are others than the real ones. */
function altered(peer: Peer, changes: (real: Peer) => Partial<Peer>): Peer {
  const changed = changes(peer);
  return new Proxy(peer, {
    get(target, property) {
      const value: unknown = Reflect.get(changed, property) ?? Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

type Found = Extract<PackAnswer, { status: 'found' }>;
const isSegment = (answer: PackAnswer): answer is Found => answer.status === 'found' && answer.body.length > fenceBytes;
const withBody = (answer: Found, body: Buffer): Found => ({
  ...answer,
  body,
  objectBytes: body.length,
});

/** What the segment of one slot does, as a segment of another. */
function moved({ body }: Found, from: Slot, to: Slot, isEmpty = false): Buffer {
  const { sealedAtMs, firstEntry, entryCount, pack, changes } = parseSegment(body, from);
  const index = parsePackIndex(body, pack.packId);
  const kept = changes.map(({ offset, length, entry }): NewChange => {
    if (entry === undefined) return { offset, length };
    return {
      offset,
      length,
      block: { entry: index.entry(entry), encoded: index.encoded(body, entry) },
    };
  });
  return encodeSegment({ slot: to, sealedAtMs, firstEntry, entryCount }, isEmpty ? [] : kept).bytes;
}

/** Each third slot comes without what it does. */
const skipSlots = (peer: Peer): Peer =>
  altered(peer, (real) => ({
    segment: async (imageId, epoch, seq) => {
      const slot = { epoch: parseEpochId(epoch), seq };
      const answer = await real.segment(imageId, epoch, seq);
      return isSegment(answer) && seq % 3 === 1 ? withBody(answer, moved(answer, slot, slot, true)) : answer;
    },
  }));

/** Two neighbours come each in the place of the other. */
const swapSlots = (peer: Peer): Peer =>
  altered(peer, (real) => ({
    segment: async (imageId, epoch, seq) => {
      const slot = { epoch: parseEpochId(epoch), seq };
      const other = { ...slot, seq: seq % 2 === 0 ? seq + 1 : seq - 1 };
      const [own, others] = [await real.segment(imageId, epoch, seq), await real.segment(imageId, epoch, other.seq)];
      return isSegment(own) && isSegment(others) ? withBody(own, moved(others, other, slot)) : own;
    },
  }));

/** A point comes without the blocks that lie in slots. */
const forgetSlotsOfPoints = (peer: Peer): Peer =>
  altered(peer, (real) => ({
    delta: async (globalId, request) => {
      const answer = await real.delta(globalId, request);
      if (answer.status === 'found')
        for (const piece of answer.manifest.pieces) piece.packs = piece.packs.filter(({ slot }) => slot === undefined);
      return answer;
    },
  }));

/** No slot is there any more for replicas, and no point is taken for who needs one. */
const letGoOfSlots = (peer: Peer): Peer =>
  altered(peer, () => ({
    segment: async () => ({ status: 'absent' }),
    requestPoint: async () => {},
  }));

/** What writers tried to put into slots, by site. */
const tried = new WeakMap<FaultDriver, Map<string, Buffer>>();

function noteSlots(world: Simulation): void {
  for (const { driver } of world.sites) {
    const bodies = new Map<string, Buffer>();
    tried.set(driver, bodies);
    driver.sabotagePut = (key, body) => {
      if (parseKey(key)?.kind === 'slot' && body.length > fenceBytes) bodies.set(key, Buffer.from(body));
      return undefined;
    };
  }
}

/** What each site last said of an image with an open epoch, and how often it is still believed. */
const heard = new WeakMap<FaultDriver, Map<string, { answer: PeerImage; left: number }>>();
const oldAnswers = 6;

/** Where a writer was fenced, its replica gets what the writer tried to put there; it hears of the next epoch rather late. */
function passOverFences(peer: Peer, _from: SimulatedSite, to: SimulatedSite): Peer {
  const last = heard.get(to.driver) ?? new Map<string, { answer: PeerImage; left: number }>();
  heard.set(to.driver, last);
  return altered(peer, (real) => ({
    image: async (globalId) => {
      const answer = await real.image(globalId);
      const old = last.get(globalId);
      if (old && old.left-- > 0 && newestOf(old.answer) !== newestOf(answer)) return old.answer;
      if (answer.status === 'present' && answer.position) last.set(globalId, { answer, left: oldAnswers });
      else last.delete(globalId);
      return answer;
    },
    segment: async (imageId, epoch, seq) => {
      const answer = await real.segment(imageId, epoch, seq);
      const refused = tried.get(to.driver)?.get(keyText({ kind: 'slot', imageId, epoch: parseEpochId(epoch), seq }));
      const isFenced = answer.status === 'found' && !isSegment(answer);
      return isFenced && refused ? withBody(answer, refused) : answer;
    },
  }));
}

const newestOf = (image: PeerImage): number | undefined =>
  image.status === 'present' ? image.snapshots.at(-1)?.id : undefined;

/** What a replica followed behind its newest point is not in it when it is promoted. */
function forgetTails(world: Simulation): void {
  for (const { driver } of world.sites)
    driver.sabotageBody = (key, body) => {
      const before = driver.objects.get(key);
      if (parseKey(key)?.kind !== 'header' || !before) return undefined;
      const document = JSON.parse(Buffer.from(body).toString());
      const [was, is]: Header[] = [JSON.parse(before.toString()).value, document.value];
      const point = mirrorSnapshots(was!).at(-1);
      if (was!.journal?.state !== 'following' || !is!.journal || !point?.namespace.position) return undefined;
      if (mirrorSnapshots(is!).at(-1)?.namespace.state !== 'primary') return undefined;
      is!.root = point.root;
      is!.journal.folded = point.namespace.position;
      return Buffer.from(JSON.stringify(document));
    };
}

export const plantedJournalBugs: readonly PlantedBug[] = [
  {
    name: 'a point comes without its slots',
    invariant: 'I1',
    plant: { focus, seams: { peer: forgetSlotsOfPoints } },
  },
  { name: 'a replica skips slots', invariant: 'I2', plant: { focus, seams: { peer: skipSlots } } },
  {
    name: 'a replica takes slots out of order',
    invariant: 'I2',
    plant: { focus, seams: { peer: swapSlots } },
  },
  {
    name: 'a primary lets go of slots that a replica needs, and takes no point for it',
    invariant: 'I4',
    plant: { focus, isSilentAfter: true, seams: { peer: letGoOfSlots } },
  },
  {
    name: 'a promotion leaves out what was followed',
    invariant: 'I5',
    plant: { focus: 'losses', sabotage: forgetTails },
  },
  {
    name: 'a replica takes a slot of a writer that was shut out',
    invariant: 'I6',
    plant: { focus, sabotage: noteSlots, seams: { peer: passOverFences } },
  },
];
