// Owns what is true of one site of a simulation: its images. It sees each change of the site's bucket as it takes effect, and hands it
// to what explains it; what was readable stays so (I1, I7).

import { parseKey } from '../../../lib/bucket/keys.ts';
import { childrenOf } from '../../../lib/image/clones/lineage.ts';
import { mirrorSnapshots, packSources, reachableRoots, sameRoot } from '../../../lib/image/header.ts';
import type { Header } from '../../../lib/image/header.ts';
import { hasTail } from '../../../lib/image/journal/fold.ts';
import { fenceBytes } from '../../../lib/image/format/fence.ts';
import { mirroredNamespaces, type Pool } from '../../../lib/mirror/pool.ts';
import { type BucketReader, Unreadable } from '../bucket-reader.ts';
import type { Deletion, FaultDriver, Landing } from '../fault-driver.ts';
import { viewOf, viewText } from '../image-view.ts';
import { Operation } from '../operation.ts';
import type { Origin } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { created } from './births.ts';
import { disabled, removed, resyncAsked, trashed, written } from './commands.ts';
import { appended, followed, isLeftToItself, leaveBehind, noteEpoch } from './head.ts';
import type { ImageTruth } from './image-truth.ts';
import { bears, isAsking, isFold, rootView, type Moment, type Place, type World } from './moment.ts';
import { journaled, pointed, takesPoints } from './points.ts';
import { checkQuiesced, noteQuiet } from './quiet.ts';

const parseHeader = (body: Buffer): Header => JSON.parse(body.toString()).value;

type Slot = { imageId: string; epoch: string; seq: number };

export class SiteTruth {
  readonly place: Place;
  /** Images whose header was deleted. A put that lands very late may bring one back; nobody can reach it. */
  readonly #gone = new Set<string>();
  readonly #tombstones = new Set<string>();

  constructor(name: string, driver: FaultDriver, reader: BucketReader, world: World) {
    const { objects } = driver;
    const images = new Map<string, ImageTruth>();
    const removedImages = new Set<ImageTruth>();
    this.place = {
      name,
      mirrorUuid: '',
      world,
      reader,
      objects,
      images,
      removedImages,
      slots: new Map(),
      pool: undefined,
      haveMirroredByFeature: new Set(),
    };
    driver.observe({
      onLanding: (landing) => world.guard(() => this.#landed(landing)),
      onDeletion: (deletion) => world.guard(() => this.#deleted(deletion)),
    });
  }

  get name(): string {
    return this.place.name;
  }

  get images(): Map<string, ImageTruth> {
    return this.place.images;
  }

  hasTombstone(globalId: string): boolean {
    return this.#tombstones.has(globalId);
  }

  /** Every root of an image, or only those that `before` did not have. */
  checkReadable(header: Header, before?: Header): void {
    if (header.removing) return;
    const known = new Set(before ? reachableRoots(before).map((root) => `${root.pack}/${root.entry}`) : []);
    for (const root of reachableRoots(header)) {
      if (known.has(`${root.pack}/${root.entry}`)) continue;
      try {
        this.place.reader.check(this.place.objects, packSources(header), root, header.objectBytes);
      } catch (error) {
        if (error instanceof Unreadable)
          throw new Violation('I1', `image '${header.name}' at ${this.name}: ${error.message}`);
        throw error;
      }
    }
  }

  #landed({ key, body, before, origin }: Landing): void {
    const parsed = parseKey(key);
    if (parsed?.kind === 'header')
      this.#headerLanded(parsed.imageId, before && parseHeader(before), parseHeader(body), origin);
    else if (parsed?.kind === 'pool') this.#poolLanded(JSON.parse(body.toString()).value);
    else if (parsed?.kind === 'tombstone') this.#tombstones.add(parsed.globalId);
    else if (parsed?.kind === 'slot')
      this.#slotLanded(parsed, body, before !== undefined && before.length !== fenceBytes, origin);
    else if (parsed?.kind === 'pack' && before) this.#recheck(parsed.imageId);
  }

  #poolLanded(pool: Pool): void {
    this.place.pool = pool;
    for (const { name, mode } of mirroredNamespaces(pool))
      if (mode === 'pool') this.place.haveMirroredByFeature.add(name);
  }

  /** The head of an image changes with its next slot. */
  #slotLanded({ imageId, epoch, seq }: Slot, body: Buffer, isRewritten: boolean, origin: Origin): void {
    if (isRewritten) return this.#recheck(imageId);
    const truth = this.images.get(imageId);
    if (!truth || body.length === fenceBytes || !hasTail(truth.header)) return;
    const { header } = truth;
    if (header.journal.folded.epoch !== epoch) return;
    if (header.journal.state === 'following') followed(this.place, truth, header, origin);
    else appended(this.place, truth, seq, origin);
  }

  #deleted({ keys, origin }: Deletion): void {
    const touched = new Set<string>();
    for (const key of keys) {
      const parsed = parseKey(key);
      if (parsed?.kind === 'pack' || parsed?.kind === 'slot') touched.add(parsed.imageId);
      if (parsed?.kind === 'header') this.#headerDeleted(parsed.imageId, origin);
    }
    for (const imageId of touched) this.#recheck(imageId);
  }

  /** The image, and those that were cloned from it. */
  #recheck(imageId: string): void {
    for (const { header, view, title } of this.images.values()) {
      if (!packSources(header).includes(imageId)) continue;
      if (hasTail(header) && this.place.reader.head(this.place.objects, header).id !== view.content.id)
        throw new Violation('I7', `${title} lost slots that are not folded`);
      try {
        this.checkReadable(header);
      } catch (error) {
        throw error instanceof Violation ? new Violation('I7', error.message) : error;
      }
    }
  }

  /** What a clone counts on: its parent lives, has the snapshot, and knows of the clone. */
  #checkLinks(): void {
    for (const { title, imageId, header } of this.images.values()) {
      const { parent } = header;
      if (!parent) continue;
      const there = this.images.get(parent.imageId)?.header;
      const snapshot = there?.snapshots.find(({ id }) => id === parent.snapshotId);
      if (!there) throw new Violation('I7', `${title} is a clone of an image that is gone`);
      if (!snapshot || !sameRoot(snapshot.root, parent.root))
        throw new Violation('I7', `${title} is a clone of a snapshot that '${there.name}' does not have`);
      if (!childrenOf(there, snapshot.id).some((child) => child.imageId === imageId))
        throw new Violation('I7', `${title} is a clone that '${there.name}' does not know of`);
    }
  }

  #headerDeleted(imageId: string, origin: Origin): void {
    const truth = this.images.get(imageId);
    this.images.delete(imageId);
    this.#gone.add(imageId);
    if (truth?.isAcknowledged)
      throw new Violation('I5', `${truth.title} was deleted without being removed (${origin.label})`);
  }

  #headerLanded(imageId: string, before: Header | undefined, header: Header, origin: Origin): void {
    if (this.#gone.has(imageId)) return;
    const operation = origin.operation instanceof Operation ? origin.operation : undefined;
    this.checkReadable(header, before);
    const view = viewOf(this.place.reader, this.place.objects, header);
    const truth = this.images.get(imageId);
    if (!before || !truth) {
      // Where a clone would be whose making was given up.
      if (header.removing) this.#gone.add(imageId);
      else created(this.place, { header, view, origin, operation });
      return this.#checkLinks();
    }
    if (before.removing) return;
    const moment = { place: this.place, truth, before, header, view, origin, operation };
    checkQuiesced(moment);
    this.#explain(moment);
    noteEpoch(moment);
    noteQuiet(moment);
    if (
      operation &&
      !isAsking(before, header) &&
      (operation.imageId ?? imageId) === imageId &&
      bears(operation, truth)
    ) {
      operation.touchedCount += 1;
      operation.imageId = imageId;
    }
    truth.header = header;
    truth.lastMode = header.mirror?.mode ?? truth.lastMode;
    truth.view = view;
    truth.names.add(view.name);
    truth.noteShown();
    if (hasTail(header)) truth.noteShown(rootView(this.place, header));
    if (header.removing) {
      this.images.delete(imageId);
      this.place.removedImages.add(truth);
    }
    this.#checkLinks();
  }

  #explain(moment: Moment): void {
    const { before, header, truth, view } = moment;
    const known = new Set(before.snapshots.map(({ id }) => id));
    const added = mirrorSnapshots(header).filter(({ id }) => !known.has(id));
    if (isLeftToItself(before, header)) leaveBehind(moment);
    const isSame = viewText(view) === viewText(truth.view);
    if (header.removing) return removed(moment);
    if (header.trash?.id !== before.trash?.id) return trashed(moment, isSame);
    if (before.mirror && !header.mirror) return disabled(moment, isSame);
    if (header.mirror?.resyncRequestedAtMs !== undefined && before.mirror?.resyncRequestedAtMs === undefined)
      resyncAsked(moment);
    if (added.length > 0 && takesPoints(before) && takesPoints(header)) return journaled(moment, added, isSame);
    if (added.length > 0) return pointed(moment, added, isSame);
    if (!isSame) written(moment);
    else if (moment.operation && bears(moment.operation, truth) && !isFold(before, header) && !isAsking(before, header))
      moment.operation.take('write'); // it wrote what was there
  }
}
