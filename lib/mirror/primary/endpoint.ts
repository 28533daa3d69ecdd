// Owns this site's answers to a peer: the same interface as `Peer`, from the other end. The caller has authenticated the peer
// (`authenticatePeer`) and checked the shapes (peer-protocol.ts).
//
// A peer that we send to may read the states, manifests and packs of mirrored images of the pool, and acknowledge. A peer
// that we receive from may wake us. Nothing else can be reached from here.

import type { Stored } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { hasTail } from '../../image/journal/fold.ts';
import { mirrorSnapshots, packSources } from '../../image/header.ts';
import type { Header, MirrorSnapshot } from '../../image/header.ts';
import { parseEpochId, parseImageId, parsePackId, type PackId } from '../../image/ids.ts';
import { mergeCopies } from '../../image/packs/pack-copy.ts';
import type { PackSources } from '../../image/packs/pack-places.ts';
import { isFenceSized } from '../../image/format/fence.ts';
import { parsePackIndex } from '../../image/format/pack.ts';
import { packKeys, type Placed } from '../../image/packs/pack-place.ts';
import { acknowledge } from './acknowledge.ts';
import { passOn, seenBeyond } from './beyond.ts';
import { sendAll } from '../peers/announce.ts';
import { findImage, readCatalog } from '../peers/catalog.ts';
import { describeParent } from '../verbs/clones.ts';
import { serveDelta } from './delta.ts';
import type { MirrorDeps } from '../deps.ts';
import { feedEnd, readFeed } from '../peers/feed.ts';
import type { Message } from '../messages.ts';
import { noteContact } from '../peers/peer.ts';
import { removePeer } from '../peers/peer-verbs.ts';
import { requestPoint } from './points.ts';
import { selectedCopy } from '../../image/packs/pack-copy.ts';
import { updatePeerState } from '../peers/peer-state.ts';
import type {
  Ack,
  DeltaAnswer,
  DeltaRequest,
  FeedPage,
  Heartbeat,
  PackAnswer,
  PackEntries,
  PackOptions,
  PackStream,
  Peer,
  PeerCatalog,
  PeerImage,
  RegisterAnswer,
  WantedSlot,
} from '../peer-protocol.ts';
import { mayReceive, maySend, mirrorOf, recentPool } from '../pool.ts';
import type { PeerRecord } from '../pool.ts';
import { recent, remember } from '../recent.ts';
import { readTombstone } from '../peers/tombstone.ts';

/** A peer goes there at once: what counts is when its request begins, not how long it reads. The rest is for clocks that differ. */
const packUrlSeconds = 5 * 60;

export type PackPlace = { status: 'absent' } | { status: 'here' } | { status: 'elsewhere'; url: string };

export class PeerEndpoint implements Peer {
  readonly #deps: MirrorDeps;
  readonly #pool: string;
  readonly #record: PeerRecord;

  constructor(deps: MirrorDeps, pool: string, record: PeerRecord) {
    this.#deps = deps;
    this.#pool = pool;
    this.#record = record;
  }

  async image(globalId: string): Promise<PeerImage> {
    await this.#check(maySend, 'read');
    const stored = await findImage(this.#deps, this.#pool, globalId);
    if (stored) return this.#present(stored.value);
    const tombstone = await readTombstone(this.#deps, this.#pool, globalId);
    if (!tombstone) return { status: 'absent' };
    const { mirrorUuid, stays } = tombstone;
    return { status: 'removed', mirrorUuid, ...(stays === true && { stays }) };
  }

  async #present(header: Header): Promise<PeerImage> {
    const { imageId, namespace, name, objectBytes, createdAtMs } = header;
    const { mode, state, disconnected } = header.mirror!;
    const mirrorUuid = mirrorOf(await recentPool(this.#deps, this.#pool), namespace)?.mirrorUuid ?? '';
    // The replica asks for packs next.
    remember(this.#deps, servedKey(this.#pool, imageId), servedOf(header));
    const snapshots = mirrorSnapshots(header).map(withoutQuiesceFailure);
    const parent = await describeParent(this.#deps, header);
    return {
      status: 'present',
      imageId,
      namespace,
      name,
      mode,
      state,
      objectBytes,
      createdAtMs,
      mirrorUuid,
      peerUuid: this.#record.uuid,
      snapshots,
      ...(mode === 'journal' && hasTail(header) && { position: header.journal.folded }),
      ...(disconnected?.includes(this.#record.uuid) === true && { disconnected: true }),
      ...(parent && { parent }),
      ...(header.formerly && { formerly: header.formerly.map(({ globalId, roots }) => ({ globalId, roots })) }),
    };
  }

  async catalog(): Promise<PeerCatalog> {
    await this.#check(maySend, 'read');
    const feedNext = await feedEnd(this.#deps, this.#pool);
    return { globalIds: Object.keys(await readCatalog(this.#deps, this.#pool)), feedNext };
  }

  async feed(from: number): Promise<FeedPage> {
    await this.#check(maySend, 'read');
    return readFeed(this.#deps, this.#pool, from);
  }

  async delta(globalId: string, request: DeltaRequest): Promise<DeltaAnswer> {
    await this.#check(maySend, 'read');
    const stored: Stored<Header> | undefined = await findImage(this.#deps, this.#pool, globalId);
    return stored ? serveDelta(this.#deps, stored, this.#record.uuid, request) : { status: 'gone' };
  }

  async pack(imageId: string, packId: string, options: PackOptions = {}): Promise<PackAnswer> {
    const keys = await this.#keysOf(imageId, packId, options.slot);
    if (keys.length > 1 && options.range === undefined) return this.#united(keys, parsePackId(packId));
    let answer: PackAnswer = { status: 'absent' };
    for (const key of keys) {
      answer = await this.#stored(key, options);
      if (answer.status !== 'absent') break;
    }
    return answer;
  }

  /** As `pack` of all of it, for one who passes it on. */
  async packStream(imageId: string, packId: string, slot?: WantedSlot): Promise<PackAnswer | PackStream> {
    const [key, ...others] = await this.#keysOf(imageId, packId, slot);
    if (key === undefined || others.length > 0) return this.pack(imageId, packId, { slot });
    const found = await this.#deps.bucket.stream(key);
    if (found.status !== 'found') return found;
    return { status: 'found', body: found.body, etag: found.meta.etag, objectBytes: found.meta.bytes };
  }

  /** Where the pack may lie; nowhere, for what is not mirrored in the pool. */
  async #keysOf(imageId: string, packId: string, slot: WantedSlot | undefined): Promise<string[]> {
    await this.#check(maySend, 'read');
    const { sources, slotsFirst } = await this.#served(imageId);
    const placed: Placed = {
      packId: parsePackId(packId),
      ...(slot && { slot: { epoch: parseEpochId(slot.epoch), seq: slot.seq } }),
    };
    return sources.flatMap((source) => packKeys(source, placed, slotsFirst));
  }

  /** A copy of a pack: a fence in the slot is none. */
  async #stored(key: string, { range, ifMatch }: PackOptions): Promise<PackAnswer> {
    const found = await this.#deps.bucket.get(key, { range, ifMatch });
    if (found.status !== 'found') return found;
    if (isFenceSized(found.meta)) return { status: 'absent' };
    return { status: 'found', body: found.body, etag: found.meta.etag, objectBytes: found.meta.bytes };
  }

  /**
   * A clone's pack may lie with its parent, and while it is flattened partly here and partly there. What was written by an
   * attached writer may lie in its slot.
   */
  async #united(keys: readonly string[], packId: PackId): Promise<PackAnswer> {
    let united: PackAnswer = { status: 'absent' };
    for (const key of keys) {
      const answer = await this.#stored(key, {});
      if (answer.status !== 'found') continue;
      const body: Uint8Array | undefined =
        united.status === 'found' ? mergeCopies(packId, united.body, answer.body) : answer.body;
      if (body) united = { ...answer, body, objectBytes: body.length };
      if (united.status === 'found' && parsePackIndex(united.body, packId).isComplete) break;
    }
    return united;
  }

  /** Where a peer reads the pack, whole or in part: `here` if its copies have to be united, or the store has no such places. */
  async packPlace(imageId: string, packId: string, slot?: WantedSlot): Promise<PackPlace> {
    const keys = await this.#keysOf(imageId, packId, slot);
    const held = keys.length > 1 ? await this.#held(keys) : keys;
    if (held.length === 0) return { status: 'absent' };
    const url = held.length === 1 ? await this.#deps.bucket.presignGet(held[0]!, packUrlSeconds) : undefined;
    return url === undefined ? { status: 'here' } : { status: 'elsewhere', url };
  }

  async #held(keys: readonly string[]): Promise<string[]> {
    const metas = await Promise.all(keys.map((key) => this.#deps.bucket.head(key)));
    return keys.filter((_, index) => metas[index] !== undefined && !isFenceSized(metas[index]));
  }

  /** Read whole here, so that the wire carries what is wanted and one request suffices, however scattered it lies. */
  async packEntries(imageId: string, packId: string, { entries, slot }: PackEntries): Promise<PackAnswer> {
    const whole = await this.pack(imageId, packId, { slot });
    if (whole.status !== 'found') return whole;
    const body = selectedCopy(parsePackIndex(whole.body, parsePackId(packId)), entries, whole.body);
    return { status: 'found', body, etag: whole.etag, objectBytes: body.length };
  }

  /** Images whose packs a mirrored image of the pool needs: none for any other. */
  async #served(imageId: string): Promise<PackSources> {
    const served = await recent(this.#deps, servedKey(this.#pool, parseImageId(imageId)), async () => {
      const header = await readHeader(this.#deps, imageId);
      return header?.value.mirror && header.value.pool === this.#pool ? servedOf(header.value) : undefined;
    });
    return served ?? { sources: [], slotsFirst: false };
  }

  async segment(imageId: string, epoch: string, seq: number): Promise<PackAnswer> {
    const key = await this.#slotKey(imageId, epoch, seq);
    const found = key && (await this.#deps.bucket.get(key));
    if (!found || found.status !== 'found') return { status: 'absent' };
    return { status: 'found', body: found.body, etag: found.meta.etag, objectBytes: found.meta.bytes };
  }

  /** Where a peer reads the slot. */
  async segmentPlace(imageId: string, epoch: string, seq: number): Promise<PackPlace> {
    const key = await this.#slotKey(imageId, epoch, seq);
    if (!key || !(await this.#deps.bucket.head(key))) return { status: 'absent' };
    const url = await this.#deps.bucket.presignGet(key, packUrlSeconds);
    return url === undefined ? { status: 'here' } : { status: 'elsewhere', url };
  }

  /** Undefined: not of a mirrored image of the pool. */
  async #slotKey(imageId: string, epoch: string, seq: number): Promise<string | undefined> {
    await this.#check(maySend, 'read');
    const [own] = (await this.#served(imageId)).sources;
    return own && keyText({ kind: 'slot', imageId: own, epoch: parseEpochId(epoch), seq });
  }

  async requestPoint(globalId: string): Promise<void> {
    await this.#check(maySend, 'read');
    await requestPoint(this.#deps, this.#pool, globalId, this.#record.uuid);
  }

  async ack(globalId: string, ack: Ack): Promise<void> {
    await this.#check(maySend, 'acknowledge');
    const before = await acknowledge(this.#deps, this.#pool, this.#record.uuid, globalId, ack);
    if (!ack.status) return;
    // What is not passed on goes with the next report.
    await passOn(this.#deps, this.#pool, globalId, { before, now: ack.status }).catch(() => undefined);
  }

  async wake(globalIds: readonly string[]): Promise<void> {
    await this.#check(mayReceive, 'wake');
    const messages = globalIds.map((globalId): Message => ({
      type: 'sync',
      pool: this.#pool,
      peerUuid: this.#record.uuid,
      globalId,
    }));
    await sendAll(this.#deps, messages);
  }

  /** Written at most every `heartbeatEveryMs`. */
  async heartbeat({ cursor, beyond }: Heartbeat): Promise<void> {
    await this.#check(() => true, 'report');
    const { clock, limits } = this.#deps;
    const nowMs = clock.nowMs();
    await updatePeerState(this.#deps, this.#pool, this.#record.uuid, ({ beyond: _, ...state }) =>
      nowMs - state.seenAtMs < limits.heartbeatEveryMs
        ? undefined
        : {
            ...state,
            seenAtMs: nowMs,
            seenCursor: cursor,
            ...(beyond && { beyond: seenBeyond(beyond, nowMs) }),
          },
    );
  }

  async register(): Promise<RegisterAnswer> {
    throw new FarsideError('EACCES', 'only a bootstrap key may register a peer');
  }

  async unregister(only?: 'tx-only'): Promise<void> {
    if (only !== undefined && this.#record.direction !== only) return;
    await removePeer(this.#deps, this.#pool, this.#record.uuid, { tell: false });
  }

  async #check(may: (record: PeerRecord) => boolean, what: string): Promise<void> {
    const pool = await recentPool(this.#deps, this.#pool);
    if (!pool.mirror) throw new FarsideError('ENOSYS', 'mirroring is not enabled on remote peer');
    if (!may(this.#record))
      throw new FarsideError('EACCES', `this peer may not ${what} here: its direction is ${this.#record.direction}`);
    if (this.#record.awaited === true) await noteContact(this.#deps, this.#pool, this.#record.uuid);
  }
}

/** What a hook said is no business of a peer's. */
function withoutQuiesceFailure({ namespace, ...snapshot }: MirrorSnapshot): MirrorSnapshot {
  const { quiesceFailure: _, ...rest } = namespace;
  return { ...snapshot, namespace: rest };
}

const servedOf = (header: Header): PackSources => ({
  sources: packSources(header).map(parseImageId),
  slotsFirst: header.journal !== undefined,
});

const servedKey = (pool: string, imageId: string): string => `served ${pool}/${imageId}`;
