// Owns what is true in a simulation: of every image at every site what it shows, its role, and its place in the true history;
// of every mirror snapshot what it recorded. It sees each change of a bucket as it takes effect, explains it by the command or
// the handler that made it, and throws a `Violation` when nothing explains it.
//
// A *point* is one primary mirror snapshot. `line`: all points that an image's content descends from. So the truth knows, as
// no site does, whether two copies have diverged.

import { parseKey } from '../../lib/bucket/keys.ts';
import { isNonPrimary } from '../../lib/image/access.ts';
import { mirrorSnapshots, packSources, reachableRoots, sameRoot } from '../../lib/image/header.ts';
import type { Header, JournalPosition, MirrorSnapshot } from '../../lib/image/header.ts';
import { hasTail, type Tailed } from '../../lib/image/journal/fold.ts';
import { childrenOf } from '../../lib/image/clones/lineage.ts';
import { fenceBytes } from '../../lib/image/journal/segment.ts';
import { type BucketReader, type Content, contentOf, Unreadable } from './bucket-reader.ts';
import type { Deletion, FaultDriver, Landing } from './fault-driver.ts';
import { changes, recordedView, viewOf, viewText, type Change, type ImageView } from './image-view.ts';
import { covers, JournalTruth, type Reach } from './journal-truth.ts';
import { Operation } from './operation.ts';
import type { Origin } from './scheduler.ts';
import { Violation } from './violation.ts';
import type { WriterLog } from './writer-log.ts';

export type Point = {
  site: string;
  mirrorUuid: string;
  globalId: string;
  snapId: number;
  isDemotion: boolean;
  view: ImageView;
  line: ReadonlySet<Point>;
  /** Where in the open epoch it was taken, and how much of every epoch it holds. */
  position: JournalPosition | undefined;
  reach: Reach;
};

export type Role = 'plain' | 'trashed' | 'creating' | 'primary' | 'demoted' | 'replica';

export class ImageTruth {
  readonly site: string;
  readonly imageId: string;
  header: Header;
  /** As it was made, and as it is. */
  readonly made: ImageView;
  view: ImageView;
  line: ReadonlySet<Point> = new Set();
  newest: Point | undefined;
  /** How much of every epoch of its history it shows. */
  reach: Reach = new Map();
  /** Written to since its newest point. */
  isDirty = false;
  /** A command that makes the image has said that it succeeded. */
  isAcknowledged = false;
  isResyncAsked = false;
  /** Who has, or had, it attached. */
  writer: WriterLog | undefined;
  /** Every name it has had: a command that opened it under an old one may still be at work. */
  readonly names: Set<string>;
  /** Everything that it has shown: what a copy may be. */
  readonly #shown = new Set<string>();

  constructor(site: string, header: Header, view: ImageView) {
    this.site = site;
    this.imageId = header.imageId;
    this.header = header;
    this.made = view;
    this.view = view;
    this.names = new Set([view.name]);
    this.noteShown();
  }

  noteShown(view = this.view): void {
    for (const deep of [true, false]) this.#shown.add(copyText(view, deep));
  }

  hasShown(copy: ImageView, deep: boolean): boolean {
    return this.#shown.has(copyText(copy, deep));
  }

  get role(): Role {
    return roleOf(this.header);
  }

  get globalId(): string | undefined {
    return this.header.mirror?.globalId;
  }

  get title(): string {
    return `image '${this.view.name}' (${this.imageId.slice(0, 6)}) at ${this.site}`;
  }
}

/** What a copy has of an image: not its name, and of snapshots not that a resync kept them. */
const copyText = (view: ImageView, deep: boolean): string =>
  `${deep} ${viewText({ ...view, name: '', snapshots: deep ? view.snapshots.map((one) => ({ ...one, isKept: false })) : [] })}`;

function roleOf(header: Header): Role {
  if (header.trash) return 'trashed';
  if (!header.mirror) return 'plain';
  if (header.mirror.state === 'creating') return 'creating';
  const newest = mirrorSnapshots(header).at(-1)?.namespace.state;
  if (newest === undefined) return 'creating';
  return (
    {
      primary: 'primary',
      'primary-demoted': 'demoted',
      'non-primary-demoted': 'demoted',
      'non-primary': 'replica',
    } as const
  )[newest];
}

/** Whose every change is a point. */
const takesPoints = (header: Header): boolean => header.mirror?.mode === 'journal' && !isNonPrimary(header);

/** Promoted, or not mirrored any more: it follows nobody. */
const isLeftToItself = (before: Header, header: Header): boolean =>
  before.journal?.state === 'following' && (header.mirror === undefined || !isNonPrimary(header));

const withReach = (reach: Reach, epoch: string, seq: number): Reach => new Map([...reach, [epoch, seq]]);

const isWritable = (role: Role): boolean => role === 'plain' || role === 'primary';
const parseHeader = (body: Buffer): Header => JSON.parse(body.toString()).value;
const pointKey = (mirrorUuid: string, globalId: string, snapId: number): string =>
  `${mirrorUuid}/${globalId}/${snapId}`;

type Slot = { imageId: string; epoch: string; seq: number };
type Copied = NonNullable<Operation['copied']>;
type Moment = {
  truth: ImageTruth;
  before: Header;
  header: Header;
  view: ImageView;
  origin: Origin;
  operation: Operation | undefined;
};

export class SiteTruth {
  readonly name: string;
  readonly images = new Map<string, ImageTruth>();
  /** Images whose header was deleted. A put that lands very late may bring one back; nobody can reach it. */
  readonly #gone = new Set<string>();
  readonly #removedImages = new Set<ImageTruth>();
  readonly #tombstones = new Set<string>();
  readonly #slots = new Map<string, number>();
  readonly #driver: FaultDriver;
  readonly #reader: BucketReader;
  readonly #world: GroundTruth;
  mirrorUuid = '';

  constructor(name: string, driver: FaultDriver, reader: BucketReader, world: GroundTruth) {
    this.name = name;
    this.#driver = driver;
    this.#reader = reader;
    this.#world = world;
    driver.observe({
      onLanding: (landing) => world.guard(() => this.#landed(landing)),
      onDeletion: (deletion) => world.guard(() => this.#deleted(deletion)),
    });
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
        this.#reader.check(this.#driver.objects, packSources(header), root, header.objectBytes);
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
    else if (parsed?.kind === 'tombstone') this.#tombstones.add(parsed.globalId);
    else if (parsed?.kind === 'slot') this.#slotLanded(parsed, body, before !== undefined, origin);
    else if (parsed?.kind === 'pack' && before) this.#recheck(parsed.imageId);
  }

  /** The head of an image changes with its next slot. */
  #slotLanded({ imageId, epoch, seq }: Slot, body: Buffer, isRewritten: boolean, origin: Origin): void {
    if (isRewritten) return this.#recheck(imageId);
    const truth = this.images.get(imageId);
    if (!truth || body.length === fenceBytes || !hasTail(truth.header)) return;
    const { header } = truth;
    if (header.journal.folded.epoch !== epoch) return;
    if (header.journal.state === 'following') this.#followed(truth, header, origin);
    else this.#appended(truth, seq, origin);
  }

  /** By its writer. */
  #appended(truth: ImageTruth, seq: number, origin: Origin): void {
    const epoch = truth.header.journal!.folded.epoch;
    const view = viewOf(this.#reader, this.#driver.objects, truth.header);
    const writer = origin.operation instanceof Operation ? origin.operation.writer : undefined;
    if (writer?.epoch !== epoch)
      throw new Violation('I6', `${truth.title} was written by ${origin.label}, which has no epoch of it`);
    if (!isWritable(truth.role)) throw new Violation('I8', `${truth.title} is ${truth.role} and was written`);
    if (view.content.id !== truth.view.content.id && !writer.lands(view.content))
      throw new Violation('I5', `the head of ${truth.title} is no prefix of what ${origin.label} wrote`);
    this.#world.journals.landed(epoch, seq, writer.landedCount);
    truth.reach = withReach(truth.reach, epoch, seq + 1);
    truth.view = view;
    truth.isDirty = true;
    truth.noteShown();
  }

  /** By what its primary's writer wrote. */
  #followed(truth: ImageTruth, header: Tailed, origin: Origin): void {
    const { epoch } = header.journal.folded;
    const view = viewOf(this.#reader, this.#driver.objects, header);
    const end = this.#reader.endOf(this.#driver.objects, header);
    const expected = this.#followedTo(truth, truth.newest, header);
    if (expected.id !== view.content.id)
      throw new Violation(
        'I2',
        `${truth.title} got slot ${end - 1} of epoch ${epoch} by ${origin.label} and shows ${view.content.id}, not ${expected.id}`,
      );
    truth.reach = withReach(truth.reach, epoch, end);
    truth.view = view;
    truth.noteShown();
  }

  /** What a replica at a point must show with the slots that it has behind it. */
  #followedTo({ title, reach }: ImageTruth, point: Point | undefined, header: Tailed): Content {
    const { epoch } = header.journal.folded;
    const { journals } = this.#world;
    const end = this.#reader.endOf(this.#driver.objects, header);
    if (point?.position?.epoch !== epoch)
      throw new Violation('I2', `${title} follows epoch ${epoch} without a point in it`);
    if (end > journals.endOf(epoch))
      throw new Violation('I6', `${title} has slot ${end - 1} of epoch ${epoch}, which the epoch's writer never wrote`);
    if (end < (reach.get(epoch) ?? 0))
      throw new Violation('I2', `${title} went back to slot ${end} of epoch ${epoch}; it was at ${reach.get(epoch)}`);
    return journals.contentAt(point.view.content, point.position, end);
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
      if (hasTail(header) && this.#reader.head(this.#driver.objects, header).id !== view.content.id)
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
    const view = viewOf(this.#reader, this.#driver.objects, header);
    const truth = this.images.get(imageId);
    if (!before || !truth) {
      // Where a clone would be whose making was given up.
      if (header.removing) this.#gone.add(imageId);
      else this.#created(header, view, origin, operation);
      return this.#checkLinks();
    }
    if (before.removing) return;
    const moment = { truth, before, header, view, origin, operation };
    this.#explain(moment);
    this.#noteEpoch(moment);
    if (operation && (operation.imageId ?? imageId) === imageId && bears(operation, truth)) {
      operation.touchedCount += 1;
      operation.imageId = imageId;
    }
    truth.header = header;
    truth.view = view;
    truth.names.add(view.name);
    truth.noteShown();
    if (hasTail(header)) truth.noteShown(this.#rootView(header));
    if (header.removing) {
      this.images.delete(imageId);
      this.#removedImages.add(truth);
    }
    this.#checkLinks();
  }

  #created(header: Header, view: ImageView, origin: Origin, operation: Operation | undefined): void {
    const truth = new ImageTruth(this.name, header, view);
    if (operation) {
      const effect = operation.take('create', 'clone', 'copy');
      if (!effect) throw unexplained(truth, `it appeared by '${operation.title}'`);
      const expected =
        effect.type === 'create'
          ? effect.view
          : effect.type === 'clone'
            ? this.#cloned(header, view, operation)
            : this.#copiedFrom(effect, view, operation);
      this.#expect(truth, expected, view, operation);
      operation.imageId = header.imageId;
      operation.touchedCount += 1;
    } else if (header.mirror?.state !== 'creating' || header.root !== null || header.snapshots.length > 0) {
      throw unexplained(truth, `it appeared by ${origin.label}`);
    }
    this.images.set(header.imageId, truth);
  }

  #cloned(header: Header, view: ImageView, { imageName }: Operation): ImageView {
    const { objectBytes, parent } = header;
    const snapshot = this.images
      .get(parent?.imageId ?? '')
      ?.header.snapshots.find(({ id }) => id === parent?.snapshotId);
    const { root, sizeBytes } = snapshot ?? { root: null, sizeBytes: 0 };
    const content = this.#reader.content(this.#driver.objects, packSources(header), root, { objectBytes, sizeBytes });
    return { name: imageName, content, meta: view.meta, features: view.features, snapshots: [] };
  }

  /** Of one that bore the name: by then it may bear another. */
  #copiedFrom(copied: Copied, view: ImageView, operation: Operation): ImageView {
    if (view.name === operation.imageName && this.#isCopy(copied, view)) return view;
    throw new Violation(
      'model',
      `'${operation.title}' made ${viewText(view)}, which no '${copied.source}' has ever shown`,
    );
  }

  #isCopy({ source, deep }: Copied, view: ImageView): boolean {
    const sources = [...this.images.values(), ...this.#removedImages].filter(({ names }) => names.has(source));
    return sources.some((truth) => truth.hasShown(view, deep)) && (deep || view.snapshots.length === 0);
  }

  /** What an earlier run of the same command, or an import of the same, left without a name. */
  copyOf(copied: Copied, name: string): ImageTruth | undefined {
    return [...this.images.values()].find(({ names, made }) => names.has(name) && this.#isCopy(copied, made));
  }

  #explain(moment: Moment): void {
    const { before, header, truth, view } = moment;
    const known = new Set(before.snapshots.map(({ id }) => id));
    const added = mirrorSnapshots(header).filter(({ id }) => !known.has(id));
    if (isLeftToItself(before, header)) this.#leaveBehind(moment);
    const isSame = viewText(view) === viewText(truth.view);
    if (header.removing) return this.#removed(moment);
    if (header.trash?.id !== before.trash?.id) return this.#trashed(moment, isSame);
    if (before.mirror && !header.mirror) return this.#disabled(moment, isSame);
    if (header.mirror?.resyncRequestedAtMs !== undefined && before.mirror?.resyncRequestedAtMs === undefined)
      this.#resyncAsked(moment);
    if (added.length > 0 && takesPoints(before) && takesPoints(header)) return this.#journaled(moment, added, isSame);
    if (added.length > 0) return this.#pointed(moment, added, isSame);
    if (!isSame) this.#written(moment);
    else if (moment.operation && bears(moment.operation, truth) && !isFold(before, header))
      moment.operation.take('write'); // it wrote what was there
  }

  /** Slots that came while the command was at work that ends the following are not in the image. */
  #leaveBehind({ truth, header, operation }: Moment): void {
    const { newest, reach, imageId } = truth;
    const { epoch, seq } = header.journal!.folded;
    const end = reach.get(epoch) ?? 0;
    if (newest?.position === undefined || end === seq) return;
    const begun = operation?.seen.get(imageId)?.get(epoch) ?? 0;
    if (!operation || seq < begun)
      throw new Violation('I5', `${truth.title} was left with ${seq} slots of epoch ${epoch}; it had ${begun} before`);
    const content = this.#world.journals.contentAt(newest.view.content, newest.position, seq);
    truth.view = { ...truth.view, content };
    truth.reach = withReach(reach, epoch, seq);
  }

  /** A change of a primary whose replicas follow its journal is a point of it. */
  #journaled(moment: Moment, added: readonly MirrorSnapshot[], isSame: boolean): void {
    const { truth, before, header, operation } = moment;
    if (!isSame) this.#written(moment);
    else if (operation && bears(operation, truth) && !isFold(before, header)) operation.take('write');
    for (const snapshot of added) this.#notePoint(moment, snapshot, false);
  }

  readonly #rootView = (header: Header): ImageView => viewOf(this.#reader, this.#driver.objects, header, true);

  /** Whoever's command puts a new epoch into the header is its writer. */
  #noteEpoch({ truth, before, header, view, operation, origin }: Moment): void {
    const { journal } = header;
    if (journal?.state !== 'open' || journal.folded.epoch === before.journal?.folded.epoch) return;
    if (!operation?.writer) throw unexplained(truth, `${origin.label} attached it`);
    if (!isWritable(truth.role)) throw new Violation('I8', `${truth.title} is ${truth.role} and was attached`);
    truth.writer = operation.writer;
    this.#world.journals.begin(journal.folded.epoch, operation.writer);
    operation.writer.begin(truth, journal.folded.epoch, view.content);
  }

  /** Into the trash, or out of it. */
  #trashed(moment: Moment, isSame: boolean): void {
    const { truth, before, header, view, operation } = moment;
    if (!operation) return this.#keptOrBack(moment, isSame);
    if (header.trash) {
      if (before.trash || truth.role !== 'plain' || !isSame || !operation.take('trash'))
        throw unexplained(truth, `it is ${truth.role} and went into the trash`);
      return;
    }
    const effect = operation.take('restore');
    if (!effect) throw unexplained(truth, 'it came out of the trash');
    this.#expect(truth, { ...truth.view, name: effect.name ?? truth.view.name }, view, operation);
  }

  /** Mirroring keeps a replica whose primary was disabled, and has it back when that is mirrored again. It shows what it showed. */
  #keptOrBack({ truth, before, header, view, origin }: Moment, isSame: boolean): void {
    if (header.trash && !this.#isGivenUp(truth)) throw notGivenUp(truth, origin);
    const isKept = header.trash?.replicaOf === truth.globalId;
    const isBack = before.trash?.replicaOf !== undefined && header.mirror?.state === 'creating' && !header.trash;
    const isUnchanged = isSame || viewText({ ...view, name: truth.view.name }) === viewText(truth.view);
    if (!(header.trash ? isKept : isBack) || !isUnchanged)
      throw unexplained(truth, `it is ${truth.role} and was put away or had back by ${origin.label}`);
    this.#unmirror(truth);
    truth.reach = new Map();
  }

  #written(moment: Moment): void {
    const { truth, header, view, operation, origin } = moment;
    const effect = operation?.take('write', 'create');
    if (!operation || !effect) {
      const invariant =
        truth.role === 'replica' || truth.role === 'creating' || truth.role === 'demoted' ? 'I2' : 'model';
      throw new Violation(
        invariant,
        `${truth.title} changed by ${origin.label}, from ${viewText(truth.view)} to ${viewText(view)}`,
      );
    }
    const isOnlyKept = viewText(view, { replicated: true }) === viewText(truth.view, { replicated: true });
    const isPurge = truth.role === 'trashed' && operation.what.startsWith('snap purge ');
    if (!isWritable(truth.role) && !isOnlyKept && !isPurge)
      throw new Violation('I8', `${truth.title} is ${truth.role} but was changed by '${operation.title}'`);
    if (effect.type === 'create' && truth.isAcknowledged)
      throw new Violation(
        'I5',
        `${truth.title}, made by a command that succeeded, was overwritten by '${operation.title}'`,
      );
    if (effect.type === 'write' && hasTail(header)) this.#writtenInUse(moment, effect.change, operation);
    else this.#expect(truth, effect.type === 'create' ? effect.view : effect.change(truth.view), view, operation);
    truth.isDirty ||= isWritable(truth.role);
  }

  /** What a command makes of an image, it makes of the root; what is in the journal since then is as it was. */
  #writtenInUse({ truth, before, header, view }: Moment, change: Change, operation: Operation): void {
    this.#expect(truth, change(this.#rootView(before)), this.#rootView(header), operation);
    const { content } = change(truth.view);
    this.#expect(truth, { ...view, content }, view, operation);
    const { sizeBytes } = header;
    if (sizeBytes !== before.sizeBytes)
      truth.writer?.resize((one) => changes.size(sizeBytes)({ ...view, content: one }).content);
  }

  #expect(truth: ImageTruth, expected: ImageView, view: ImageView, operation: Operation): void {
    if (viewText(expected) === viewText(view)) return;
    throw new Violation(
      'model',
      `${truth.title} after '${operation.title}' is ${viewText(view)}, expected ${viewText(expected)}`,
    );
  }

  #removed({ truth, before, operation, origin }: Moment): void {
    if (before.parent?.unnamed && !truth.isAcknowledged) return; // its making was given up
    if (operation) {
      if (!operation.take('remove')) throw unexplained(truth, `it was removed by '${operation.title}'`);
      if (truth.role !== 'plain' && truth.role !== 'trashed')
        throw new Violation('I8', `${truth.title} is ${truth.role} and was removed by '${operation.title}'`);
      return;
    }
    if (before.trash?.source === 'mirroring' || this.#isGivenUp(truth)) return;
    throw notGivenUp(truth, origin);
  }

  /** What has no point yet holds nothing that could be lost. */
  #isGivenUp({ role, globalId, newest }: ImageTruth): boolean {
    if (role === 'creating') return true;
    if (role !== 'replica' || globalId === undefined || newest === undefined) return false;
    return this.#world.site(newest.site)?.hasTombstone(globalId) === true;
  }

  #disabled({ truth, before, operation }: Moment, isSame: boolean): void {
    const isTakenBack = before.parent !== undefined && operation?.take('take back') !== undefined;
    if (isTakenBack) operation.tookBack();
    if (!(isTakenBack || operation?.take('disable')) || !isSame) throw unexplained(truth, 'it stopped being mirrored');
    this.#unmirror(truth);
  }

  #unmirror(truth: ImageTruth): void {
    truth.line = new Set();
    truth.newest = undefined;
    truth.isDirty = false;
    truth.isResyncAsked = false;
  }

  #resyncAsked({ truth, operation, origin }: Moment): void {
    if (!operation?.take('resync')) throw unexplained(truth, `a resync was asked for by ${origin.label}`);
    truth.isResyncAsked = true;
  }

  #pointed(moment: Moment, added: readonly MirrorSnapshot[], isSame: boolean): void {
    const { truth, origin } = moment;
    for (const snapshot of added) {
      const { state, primaryMirrorUuid } = snapshot.namespace;
      if (state === 'primary' || state === 'primary-demoted') {
        if (!isSame) throw unexplained(truth, `it changed while ${origin.label} took a mirror snapshot`);
        this.#ownPoint(moment, snapshot);
      } else if (primaryMirrorUuid !== '') this.#copied(moment, snapshot);
    }
  }

  #ownPoint(moment: Moment, snapshot: MirrorSnapshot): void {
    const { truth, header, before, operation, origin } = moment;
    const { state, slotMs } = snapshot.namespace;
    const globalId = header.mirror!.globalId;
    const kind =
      state === 'primary-demoted'
        ? 'demote'
        : before.mirror === undefined
          ? 'enable'
          : truth.role === 'primary'
            ? 'snapshot'
            : 'promote';
    if (operation ? !operation.take(kind) : kind !== 'snapshot' || slotMs === undefined)
      throw unexplained(truth, `${origin.label} made a point of it (${kind})`);
    if (kind === 'demote' && truth.role !== 'primary')
      throw new Violation('model', `${truth.title} is ${truth.role} and was demoted`);
    if (slotMs !== undefined) this.#takeSlot(truth, globalId, slotMs);
    this.#notePoint(moment, snapshot, kind === 'demote');
    if (kind === 'promote') truth.isResyncAsked = false;
  }

  #notePoint({ truth, header, view }: Moment, snapshot: MirrorSnapshot, isDemotion: boolean): void {
    const recorded = recordedView(this.#reader, this.#driver.objects, header, snapshot);
    // What came into the journal since it was folded is not in it.
    const whole = hasTail(header) ? this.#rootView(header) : view;
    const plain = { ...whole, snapshots: whole.snapshots.map((one) => ({ ...one, isKept: false })) };
    if (viewText(recorded) !== viewText(plain))
      throw new Violation(
        'model',
        `mirror snapshot ${snapshot.id} of ${truth.title} recorded ${viewText(recorded)}, not ${viewText(plain)}`,
      );
    const { position } = snapshot.namespace;
    const line = new Set(truth.line);
    const point: Point = {
      site: this.name,
      mirrorUuid: this.mirrorUuid,
      globalId: header.mirror!.globalId,
      snapId: snapshot.id,
      isDemotion,
      view: recorded,
      line,
      position,
      reach: position ? withReach(truth.reach, position.epoch, position.seq) : truth.reach,
    };
    line.add(point);
    this.#world.register(point);
    const { reach } = truth;
    this.#moveTo(truth, point, reach);
    truth.isDirty = recorded.content.id !== view.content.id;
  }

  /** I3: a slot is taken once, however often its message is handled. */
  #takeSlot(truth: ImageTruth, globalId: string, slotMs: number): void {
    const last = this.#slots.get(globalId) ?? -Infinity;
    if (slotMs <= last) throw new Violation('I3', `the slot ${slotMs} of ${truth.title} was taken twice`);
    this.#slots.set(globalId, slotMs);
  }

  #copied({ truth, header, view, origin }: Moment, snapshot: MirrorSnapshot): void {
    const { primaryMirrorUuid = '', primarySnapId = -1 } = snapshot.namespace;
    const point = this.#world.point(primaryMirrorUuid, header.mirror!.globalId, primarySnapId);
    if (!point)
      throw new Violation(
        'I2',
        `${truth.title} claims to be at snapshot ${primarySnapId} of ${primaryMirrorUuid}, which was never taken`,
      );
    const isOtherName = header.mirror?.problem?.description.includes('name') === true;
    const content = hasTail(header) ? this.#followedTo(truth, point, header) : point.view.content;
    const expected = { ...point.view, content, ...(isOtherName && { name: view.name }) };
    const [is, should] = [viewText(view, { replicated: true }), viewText(expected)];
    if (is !== should)
      throw new Violation(
        'I2',
        `${truth.title} was completed to snapshot ${primarySnapId} by ${origin.label} and shows ${is}, the snapshot holds ${should}`,
      );
    const reach = hasTail(header)
      ? withReach(point.reach, header.journal.folded.epoch, this.#reader.endOf(this.#driver.objects, header))
      : point.reach;
    this.#checkNothingLost(truth, point, view, reach);
    this.#moveTo(truth, point, reach);
    // One that was asked for while another copy was under way is still to be done.
    truth.isResyncAsked &&= header.mirror?.resyncRequestedAtMs !== undefined;
  }

  /** I9, for a copy about to move to `point`. */
  #checkNothingLost(truth: ImageTruth, point: Point, view: ImageView, reach: Reach): void {
    const { newest, role } = truth;
    if (role === 'primary')
      throw new Violation(
        'I9',
        `${truth.title} is primary and was overwritten with snapshot ${point.snapId} of ${point.site}`,
      );
    const goesOn = newest === undefined ? role === 'creating' : point.line.has(newest) && point !== newest;
    const isCovered = covers(reach, truth.reach);
    if (goesOn && !truth.isDirty && isCovered) return;
    if (!truth.isResyncAsked) {
      const how = newest && newest.line.has(point) ? 'went back' : 'had diverged and was overwritten';
      throw new Violation(
        newest && newest.line.has(point) ? 'I3' : 'I9',
        `${truth.title} ${how}: from ${describe(newest)} to ${describe(point)}, without a resync`,
      );
    }
    const data = new Set(view.snapshots.map(({ content }) => dataOf(content)));
    for (const { view: past } of point.line)
      for (const { content } of [past, ...past.snapshots]) data.add(dataOf(content));
    // What lies between two points of the line is in no point of it.
    const isInHistory = newest !== undefined && point.line.has(newest) && isCovered;
    const head = isInHistory ? [] : [{ name: 'its head', content: truth.view.content }];
    const had = [...head, ...truth.view.snapshots];
    const lost = had.find(({ content }) => dataOf(content) !== '' && !data.has(dataOf(content)));
    if (lost) throw new Violation('I9', `the resync of ${truth.title} to ${describe(point)} lost ${lost.name}`);
    const keptBefore = truth.view.snapshots.filter(({ isKept }) => isKept).length;
    if (view.snapshots.filter(({ isKept }) => isKept).length < keptBefore)
      throw new Violation('I9', `the resync of ${truth.title} dropped a kept snapshot`);
  }

  #moveTo(truth: ImageTruth, point: Point, reach: Reach): void {
    truth.line = point.line;
    truth.newest = point;
    truth.reach = reach;
    truth.isDirty = false;
  }
}

/** Content but for zeros at its end: a root stands for it, whatever the size. Empty: there is none. */
function dataOf({ bytes }: Content): string {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end === 0 ? '' : contentOf(bytes.subarray(0, end)).id;
}

export const describe = (point: Point | undefined): string =>
  point ? `snapshot ${point.snapId} of ${point.site}` : 'nothing';

/** Anybody may fold, also on the way to something else. */
const isFold = (before: Header, { journal }: Header): boolean =>
  journal !== undefined && JSON.stringify(journal.folded) !== JSON.stringify(before.journal?.folded);

const bears = (operation: Operation, truth: ImageTruth): boolean => truth.names.has(operation.imageName);
const notGivenUp = (truth: ImageTruth, { label }: Origin): Violation =>
  new Violation('I9', `${truth.title} (${truth.role}) was removed by ${label}, though its primary was not given up`);
const unexplained = (truth: ImageTruth, what: string): Violation =>
  new Violation('model', `${truth.title}: ${what}, and nothing explains it`);

export class GroundTruth {
  readonly sites: SiteTruth[] = [];
  readonly journals = new JournalTruth();
  readonly #points = new Map<string, Point>();
  readonly #fail: (error: unknown) => void;

  /** `fail` ends the run. */
  constructor(fail: (error: unknown) => void) {
    this.#fail = fail;
  }

  guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#fail(error);
    }
  }

  site(name: string): SiteTruth | undefined {
    return this.sites.find((site) => site.name === name);
  }

  census(): { site: string; images: ImageTruth[] }[] {
    return this.sites.map(({ name, images }) => ({ site: name, images: [...images.values()] }));
  }

  get pointCount(): number {
    return this.#points.size;
  }

  register(point: Point): void {
    this.#points.set(pointKey(point.mirrorUuid, point.globalId, point.snapId), point);
  }

  point(mirrorUuid: string, globalId: string, snapId: number): Point | undefined {
    return this.#points.get(pointKey(mirrorUuid, globalId, snapId));
  }

  /** A command begins. */
  began(operation: Operation): void {
    for (const { imageId, names, reach } of this.site(operation.siteName)?.images.values() ?? [])
      if (names.has(operation.imageName)) operation.seen.set(imageId, reach);
  }

  /** A command has answered. */
  succeeded(operation: Operation): void {
    if (operation.touchedCount === 0 && operation.created)
      operation.imageId = this.#twin(operation.siteName, operation.created);
    else if (operation.touchedCount === 0 && operation.copied)
      operation.imageId = this.#copyMadeBefore(operation, operation.copied);
    else if (operation.mustLand && operation.touchedCount === 0)
      throw new Violation('I5', `'${operation.title}' said that it succeeded, but nothing was stored`);
    const truth =
      operation.imageId === undefined ? undefined : this.site(operation.siteName)?.images.get(operation.imageId);
    if (truth) truth.isAcknowledged = true;
  }

  #copyMadeBefore({ siteName, imageName, title }: Operation, copied: Copied): string {
    const found = this.site(siteName)?.copyOf(copied, imageName);
    if (found) return found.imageId;
    throw new Violation('I5', `'${title}' said that it succeeded, but there is no such image`);
  }

  /** The image that an earlier run of the same command made. */
  #twin(siteName: string, created: ImageView): string {
    const images = [...(this.site(siteName)?.images.values() ?? [])];
    const twin = images.find(({ names, made }) => names.has(created.name) && made.content.id === created.content.id);
    if (!twin)
      throw new Violation(
        'I5',
        `the making of '${created.name}' at ${siteName} said that it succeeded, but there is no such image`,
      );
    return twin.imageId;
  }

  refused(operation: Operation, why: string): void {
    if (operation.landedCount === 0 || operation.mayRefuseLate) return;
    throw new Violation('model', `'${operation.title}' was refused (${why}) but had an effect`);
  }
}
