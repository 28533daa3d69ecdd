// Owns what operators and clients do in a simulation: mostly what fits the state of the images, sometimes what must be
// refused, at times when others do something else.

import { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { hasTail } from '../../lib/image/journal/fold.ts';
import { reachableRoots } from '../../lib/image/header.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import type { CopyLimits } from '../../lib/image/clones/copy-packs.ts';
import { copyStep } from '../../lib/image/clones/copy.ts';
import { flattenStep } from '../../lib/image/clones/flatten.ts';
import { findUserSnapshot } from '../../lib/image/info.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { createImage, renameImage, resizeImage, updateFeatures } from '../../lib/image/images.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import { removeMeta, setMeta } from '../../lib/image/meta.ts';
import {
  createSnapshot,
  protectSnapshot,
  purgeSnapshots,
  removeSnapshot,
  renameSnapshot,
  rollbackSnapshot,
  unprotectSnapshot,
} from '../../lib/image/snapshots.ts';
import { removeFromTrash, restoreFromTrash } from '../../lib/image/trash.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  removeMirroredImage,
  resyncImage,
  trashImage,
} from '../../lib/mirror/verbs/images.ts';
import { disconnectClients } from '../../lib/mirror/primary/disconnect.ts';
import type { QuiesceMode } from '../../lib/image/journal/quiesce.ts';
import { resetJournal } from '../../lib/mirror/primary/journal-report.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import type { Dice } from './dice.ts';
import type { ImageTruth } from './truth/image-truth.ts';
import { changes, emptyView } from './image-view.ts';
import { Operation, type Effect } from './operation.ts';
import type { SimulatedSite } from './simulated-site.ts';
import { featureWeights, testWeights, weights, type Habits, type Kind } from './habits.ts';
import type { Step } from './stories.ts';
import { endTests, featuresOfNew, switchJournaling, switchMode, tryFailover } from './pool-work.ts';
import { Violation } from './violation.ts';
import { WriterLog } from './writer-log.ts';
import { drawWriting, writeThrough } from './writing.ts';

export const pool = 'rbd';
/** In the namespace that the site's images are in. */
export const specOf = (image: string, namespace = ''): ImageSpec => ({ pool, namespace, image });

export type Shape = {
  objectBytes: number[];
  unitBytes: number;
  unitsMax: number;
  imageNames: string[];
};

/** `where`: a client with the bucket in its hands, or the site's own process by its API. */
export type Command = {
  operation: Operation;
  where: 'client' | 'site';
  run: (deps: MirrorDeps, site: SimulatedSite) => Promise<unknown>;
  /** Until the next one begins. */
  thenMs?: number | undefined;
};

const snapshotNames = ['s1', 's2', 's3'];
const metaKeys = ['tier', 'owner'];

type MakeCommand = (
  where: Command['where'],
  effects: Effect[],
  run: Command['run'],
  options?: { what?: string; mustLand?: boolean; mayRefuseLate?: boolean; isQuiescing?: boolean },
) => Command;

/** Images of every site. */
export type Census = readonly { site: string; images: readonly ImageTruth[] }[];

/** `areModesSwitched`: pools go into mode `pool` and out of it. */
export type WorkloadOptions = {
  shape: Shape;
  habits: Habits;
  namespaces: ReadonlyMap<string, string>;
  areModesSwitched: boolean;
};

export class Workload {
  /** `imageId`: at the site where it is told first. */
  readonly #story: (Omit<Step, 'site'> & {
    siteName: string;
    globalId: string;
    imageId: string;
  })[] = [];
  readonly #dice: Dice;
  readonly #shape: Shape;
  readonly #habits: Habits;
  readonly #units: Buffer[];
  /** Of a site's images, by site. */
  readonly #namespaces: ReadonlyMap<string, string>;

  readonly #areModesSwitched: boolean;

  constructor(dice: Dice, { shape, habits, namespaces, areModesSwitched }: WorkloadOptions) {
    this.#areModesSwitched = areModesSwitched;
    this.#namespaces = namespaces;
    this.#dice = dice;
    this.#shape = shape;
    this.#habits = habits;
    this.#units = Array.from({ length: 12 }, (_, index) =>
      index % 2 === 0 ? dice.bytes(shape.unitBytes) : Buffer.alloc(shape.unitBytes, `text ${index} `),
    );
  }

  /** What somebody does next: as a story goes on, or anything at this site. */
  next(siteName: string, census: Census): Command {
    if (this.#story.length === 0 && this.#dice.chance(this.#habits.storyShare)) this.#beginStory(census);
    const step = this.#dice.chance(this.#habits.storyFaith) ? this.#story.shift() : undefined;
    const images = step && census.find(({ site }) => site === step.siteName)?.images;
    const globalId = step && (this.#areModesSwitched ? currentGlobalId(census, step) : step.globalId);
    const named =
      images?.find((image) => image.globalId === globalId) ??
      (this.#areModesSwitched ? images?.find(({ imageId }) => imageId === step?.imageId) : undefined);
    const truth = step?.of ? images?.findLast(({ header }) => header.parent?.imageId === named?.imageId) : named;
    if (step && truth)
      return {
        ...this.make(step.kind, step.siteName, truth.view.name, truth),
        thenMs: step.thenMs,
      };
    return this.#anything(siteName, census.find(({ site }) => site === siteName)?.images ?? []);
  }

  #beginStory(census: Census): void {
    const primaries = census.flatMap(({ images }) => images.filter(({ role }) => role === 'primary'));
    if (primaries.length === 0) return;
    const primary = this.#dice.pick(primaries);
    const { site: here, globalId, imageId } = primary;
    const there = census.find(
      ({ site, images }) => site !== here && images.some((image) => image.globalId === globalId),
    )?.site;
    if (there === undefined || globalId === undefined) return;
    const told =
      isJournaled(primary) && this.#dice.chance(this.#habits.journalStoryShare)
        ? this.#habits.journalStories
        : this.#habits.stories;
    const steps = told[this.#dice.pick(Object.keys(told))]!;
    this.#story.push(
      ...steps.map(({ site, ...step }) => ({
        ...step,
        siteName: site === 'here' ? here : there,
        globalId,
        imageId,
      })),
    );
  }

  #anything(siteName: string, images: readonly ImageTruth[]): Command {
    const name = this.#dice.pick(this.#shape.imageNames);
    const truth =
      images.length > 0 && this.#dice.chance(0.85)
        ? this.#dice.pick(images)
        : images.find(({ view }) => view.name === name);
    const isSplit = truth?.header.mirror?.problem?.description === 'split-brain';
    const usual = weights[isSplit ? 'split-brain' : isJournaled(truth) ? 'in journal mode' : (truth?.role ?? 'none')];
    const { writerFactor, takeoverFactor } = this.#habits;
    const drawn = this.#dice.weighted({
      ...usual,
      attach: (usual.attach ?? 0) * writerFactor,
      'promote force': (usual['promote force'] ?? 0) * takeoverFactor,
      ...(truth?.header.parent && { flatten: 8 }),
      ...(this.#areModesSwitched && truth && truth.role !== 'trashed' && featureWeights),
      ...(this.#areModesSwitched && truth?.role === 'replica' && testWeights),
    });
    const lacksSnapshots =
      (drawn.startsWith('snap ') || drawn === 'clone') &&
      (truth?.role === 'primary' || truth?.role === 'plain') &&
      truth.view.snapshots.length === 0;
    const isNoneProtected = truth?.view.snapshots.every(({ isProtected }) => !isProtected) === true;
    const wanted = drawn === 'snap unprotect' && isNoneProtected ? 'snap protect' : drawn;
    const kind = lacksSnapshots && this.#dice.chance(0.9) ? 'snap create' : wanted;
    return this.make(kind, siteName, truth?.view.name ?? name, truth);
  }

  make(kind: Kind, siteName: string, image: string, truth: ImageTruth | undefined): Command {
    const dice = this.#dice;
    const namespace = this.#namespaces.get(siteName) ?? '';
    const spec = specOf(image, namespace);
    const trashed = { pool, namespace, imageId: truth?.imageId ?? noImageId };
    const command: MakeCommand = (where, effects, run, options = {}) => {
      const { what = '', mustLand = true, mayRefuseLate = false, isQuiescing = false } = options;
      return {
        operation: new Operation({
          what: `${kind} ${image}${what && ` ${what}`}`,
          siteName,
          imageName: image,
          effects,
          mustLand,
          mayRefuseLate,
          isQuiescing,
        }),
        where,
        run,
      };
    };
    const write = (change: ReturnType<(typeof changes)['content']>): Effect[] => [{ type: 'write', change }];
    const side = dice.chance(0.5) ? 'client' : 'site';
    const snap = this.#snapshotFor(kind, truth);
    const quiesce = this.#quiesceMode();
    const isQuiescing = quiesce === 'required';
    const said = isQuiescing ? '' : ` (quiesce: ${quiesce})`;
    switch (kind) {
      case 'create': {
        const sizeBytes = this.#sizeBytes();
        const objectBytes = dice.pick(this.#shape.objectBytes);
        return command(
          side,
          [{ type: 'create', view: emptyView(image, Buffer.alloc(sizeBytes)) }],
          (deps) => createImage(deps, spec, { sizeBytes, objectBytes, features: this.#newFeatures() }),
          { mayRefuseLate: true },
        );
      }
      case 'import': {
        const content = this.#content(undefined);
        const objectBytes = dice.pick(this.#shape.objectBytes);
        const run = (deps: MirrorDeps) =>
          importContent(deps, spec, content, {
            update: false,
            objectBytes,
            features: this.#newFeatures(),
            compression: dice.chance(0.5) ? 'auto' : 'none',
          });
        return command('client', [{ type: 'create', view: emptyView(image, content) }], run, {
          what: `${content.length} bytes`,
          mayRefuseLate: true,
        });
      }
      case 'update': {
        const content = this.#content(truth?.view.content.bytes);
        const run = (deps: MirrorDeps) =>
          importContent(deps, spec, content, {
            update: true,
            compression: dice.chance(0.5) ? 'auto' : 'none',
          });
        return command('client', write(changes.content(content)), run, {
          what: `${content.length} bytes`,
        });
      }
      case 'resize': {
        const sizeBytes = this.#sizeBytes();
        const allowShrink = dice.chance(0.8);
        return command(
          side,
          write(changes.size(sizeBytes)),
          (deps) => resizeImage(deps, spec, { sizeBytes, allowShrink }),
          { what: `to ${sizeBytes}`, mustLand: false },
        );
      }
      case 'snap create':
        return command(
          side,
          write(changes.createSnapshot(snap)),
          (deps) => createSnapshot(deps, spec, snap, { quiesce }),
          { what: `${snap}${said}`, isQuiescing },
        );
      case 'snap rm':
        return command(side, write(changes.removeSnapshot(snap)), (deps) => removeSnapshot(deps, spec, snap), {
          what: snap,
        });
      case 'snap rename': {
        const newName = dice.pick(snapshotNames);
        return command(
          side,
          write(changes.renameSnapshot(snap, newName)),
          (deps) => renameSnapshot(deps, spec, snap, newName),
          { what: `${snap} to ${newName}` },
        );
      }
      case 'snap protect':
        return command(side, write(changes.protectSnapshot(snap, true)), (deps) => protectSnapshot(deps, spec, snap), {
          what: snap,
        });
      case 'snap unprotect':
        return command(
          side,
          write(changes.protectSnapshot(snap, false)),
          (deps) => unprotectSnapshot(deps, spec, snap),
          { what: snap },
        );
      case 'snap rollback':
        return command(side, write(changes.rollback(snap)), (deps) => rollbackSnapshot(deps, spec, snap), {
          what: snap,
        });
      case 'snap purge': {
        // In the trash only its id finds it.
        const target = truth?.role === 'trashed' ? { ...spec, image: truth.imageId, byId: true } : spec;
        return command(side, write(changes.purge), (deps) => purgeSnapshots(deps, target), {
          mustLand: false,
        });
      }
      case 'meta set': {
        const [key, value] = [dice.pick(metaKeys), String(dice.integer(1, 5))];
        return command(side, write(changes.meta(key, value)), (deps) => setMeta(deps, spec, key, value), {
          what: key,
          mustLand: false,
        });
      }
      case 'meta rm': {
        const key = dice.pick([...Object.keys(truth?.view.meta ?? {}), ...metaKeys]);
        return command(side, write(changes.meta(key, undefined)), (deps) => removeMeta(deps, spec, key), { what: key });
      }
      case 'rename': {
        const newName = dice.pick(this.#shape.imageNames);
        return command(side, write(changes.name(newName)), (deps) => renameImage(deps, spec, newName), {
          what: `to ${newName}`,
          mustLand: false,
        });
      }
      case 'rm':
        return command('site', [{ type: 'disable' }, { type: 'remove' }], (deps) => removeMirroredImage(deps, spec), {
          mustLand: false,
          mayRefuseLate: true,
        });
      case 'enable':
        return this.#enabling(command, spec, truth);
      case 'disable':
      case 'disable force':
        return command(
          'site',
          [{ type: 'disable' }],
          (deps) => disableImage(deps, spec, { force: kind === 'disable force' }),
          { mustLand: false },
        );
      case 'mirror snapshot':
        return command('site', [{ type: 'snapshot' }], (deps) => createMirrorSnapshot(deps, spec, { quiesce }), {
          what: said,
          isQuiescing,
        });
      case 'promote':
      case 'promote force':
        return command('site', [{ type: 'promote' }], (deps) =>
          promoteImage(deps, spec, { force: kind === 'promote force' }),
        );
      case 'demote':
        return command('site', [{ type: 'demote' }], (deps) => demoteImage(deps, spec));
      case 'resync':
        return command('site', [{ type: 'resync' }], (deps) => resyncImage(deps, spec), {
          mustLand: false,
        });
      case 'export':
        return command('client', [], (deps) => exportContent(deps, spec, dice.chance(0.5) ? snap : undefined, truth), {
          mustLand: false,
        });
      case 'clone': {
        const name = dice.pick([...this.#shape.imageNames, 'u', 'v', 'w', 'x', 'y']);
        const operation = new Operation({
          what: `clone ${image} ${snap} as ${name}`,
          siteName,
          imageName: name,
          effects: [{ type: 'clone' }],
          mustLand: true,
          mayRefuseLate: true,
        });
        return {
          operation,
          where: 'site',
          run: (deps) => cloneImage(deps, spec, { name: snap }, specOf(name, namespace)),
        };
      }
      case 'flatten': {
        const limits = {
          copyBytesMax: dice.pick([1, 100_000]),
          nodesMax: 100,
          windowBytes: dice.pick([1, 65_536]),
        };
        return command('site', [], (deps) => flattenWhole(deps, spec, limits), { mustLand: false });
      }
      case 'cp':
      case 'deep cp': {
        const name = dice.pick([...this.#shape.imageNames, 'u', 'v', 'w', 'x', 'y']);
        const deep = kind === 'deep cp';
        const limits = {
          copyBytesMax: dice.pick([1, 100_000]),
          nodesMax: 100,
          windowBytes: dice.pick([1, 65_536]),
        };
        const operation = new Operation({
          what: `${kind} ${image} as ${name}`,
          siteName,
          imageName: name,
          effects: [{ type: 'copy', source: image, deep }],
          mustLand: true,
          mayRefuseLate: true,
        });
        return {
          operation,
          where: 'site',
          run: (deps) => copyWhole(deps, spec, specOf(name, namespace), { deep, limits }),
        };
      }
      case 'feature': {
        const feature = dice.pick(['fast-diff', 'object-map', 'deep-flatten']);
        const isOn = truth?.view.features.includes(feature) === true;
        const action = isOn === dice.chance(0.9) ? 'disable' : 'enable';
        return command(
          side,
          write(changes.features(feature, action)),
          (deps) => updateFeatures(deps, spec, [feature], action),
          { what: `${action} ${feature}` },
        );
      }
      case 'trash mv': {
        const delaySeconds = dice.pick([0, 3600]);
        const run = (deps: MirrorDeps) => trashImage(deps, spec, { delaySeconds });
        return command('site', [{ type: 'disable' }, { type: 'trash' }], run, {
          mayRefuseLate: true,
        });
      }
      case 'trash restore': {
        const newName = dice.chance(0.5) ? dice.pick(this.#shape.imageNames) : undefined;
        return command(
          'site',
          [{ type: 'restore', name: newName }],
          (deps) => restoreFromTrash(deps, trashed, newName),
          { what: newName ?? '' },
        );
      }
      case 'trash rm': {
        const force = dice.chance(0.7);
        return command(
          'site',
          [{ type: 'remove' }],
          (deps) => removeFromTrash(deps, trashed, { force, queue: deps.queue }),
          { mustLand: false, mayRefuseLate: true },
        );
      }
      case 'attach': {
        const isTaken = truth?.header.journal?.state === 'open';
        const force = dice.chance(isTaken ? 0.7 : 0.2);
        const { hookShare, areWritersPatient: isPatient } = this.#habits;
        const isHooked = hookShare > 0 && dice.chance(hookShare);
        const plan = drawWriting(dice, {
          force,
          isFollowed: isJournaled(truth),
          isHooked,
          isPatient,
          units: this.#units,
        });
        const writer = new WriterLog();
        const operation = new Operation({
          what: `attach ${image}${plan.force ? ' by force' : ''}${isHooked ? ' with a hook' : ''}`,
          siteName,
          imageName: image,
          effects: [],
          writer,
        });
        return {
          operation,
          where: 'client',
          run: (deps, site) =>
            writeThrough(deps, {
              spec,
              plan,
              writer,
              advance: (to) => site.advance(spec, to),
              die: () => site.killCaller(),
            }),
        };
      }
      case 'journal disconnect':
        return command('site', [], (deps) => disconnectClients(deps, spec), { mustLand: false });
      case 'journal reset':
        return command('site', [], (deps) => resetJournal(deps, spec), { mustLand: false });
      case 'pool mode':
        return switchMode(dice, { siteName, spec });
      case 'journaling':
        return switchJournaling(dice, { siteName, spec }, truth);
      case 'test failover':
        return tryFailover({ siteName, spec }, dice.pick(['u', 'v', 'w', 'x', 'y']));
      case 'test clean-up':
        return endTests({ siteName, spec });
      case 'collect': {
        const run = async (deps: MirrorDeps): Promise<void> => {
          if (truth)
            await deps.queue.send([{ type: 'collect', imageId: truth.imageId, run: deps.random.uuid(), step: 0 }]);
        };
        return command('site', [], run, { mustLand: false });
      }
    }
  }

  /** Of one that was mirrored a moment ago, mostly in the other mode. */
  #enabling(command: MakeCommand, spec: ImageSpec, truth: ImageTruth | undefined): Command {
    const wasInSnapshots = truth?.header.formerly && truth.lastMode === 'snapshot';
    const share = this.#areModesSwitched && wasInSnapshots ? 0.7 : this.#habits.journalShare;
    const mode = this.#dice.chance(share) ? 'journal' : 'snapshot';
    const effects: Effect[] = [{ type: 'enable' }, { type: 'take back' }];
    return command('site', effects, (deps) => enableImage(deps, spec, mode), {
      what: mode,
      mustLand: false,
    });
  }

  /** Mostly one that there is, and to unprotect mostly one that is protected. */
  #snapshotFor(kind: Kind, truth: ImageTruth | undefined): string {
    const fitting = truth?.view.snapshots.filter(({ isProtected }) => kind !== 'snap unprotect' || isProtected) ?? [];
    const isNew = kind === 'snap create' || fitting.length === 0 || this.#dice.chance(0.1);
    return isNew ? this.#dice.pick(snapshotNames) : this.#dice.pick(fitting).name;
  }

  /** Nobody is asked where no writer has a hook. */
  #quiesceMode(): QuiesceMode {
    if (this.#habits.hookShare === 0) return 'required';
    return this.#dice.weighted<QuiesceMode>({ required: 6, 'ignore-error': 1, skip: 1 });
  }

  #newFeatures(): string[] {
    return featuresOfNew(this.#areModesSwitched && this.#dice.chance(0.5));
  }

  #sizeBytes(): number {
    const units = this.#dice.skewed(0, this.#shape.unitsMax);
    const odd = this.#dice.chance(0.2) ? this.#dice.pick([1, 511, 512, 1000, 4095]) : 0;
    return units * this.#shape.unitBytes + odd;
  }

  /** All new, or some units of `base` changed. */
  #content(base: Buffer | undefined): Buffer {
    const dice = this.#dice;
    const isEdit = base !== undefined && base.length > 0 && dice.chance(0.75);
    const sizeBytes = isEdit && dice.chance(0.8) ? base.length : this.#sizeBytes();
    const content = Buffer.alloc(sizeBytes);
    if (isEdit) base.copy(content);
    const share = isEdit ? dice.pick([0, 0.1, 0.3]) : 0.8;
    const { unitBytes } = this.#shape;
    for (let at = 0; at < sizeBytes; at += unitBytes) {
      if (!dice.chance(share)) continue;
      if (dice.chance(0.15)) content.fill(0, at, Math.min(at + unitBytes, sizeBytes));
      else dice.pick(this.#units).copy(content, at);
    }
    // A small write within a unit.
    if (isEdit && sizeBytes > 0 && dice.chance(0.5)) content[dice.integer(0, sizeBytes - 1)] = dice.integer(1, 255);
    return content;
  }
}

/** Mirroring that was given up and begun again has another one. */
const currentGlobalId = (census: Census, step: { imageId: string; globalId: string }): string =>
  census.flatMap(({ images }) => images).find(({ imageId }) => imageId === step.imageId)?.globalId ?? step.globalId;

/** A primary whose replicas follow its journal. */
const isJournaled = (truth: ImageTruth | undefined): boolean =>
  truth?.role === 'primary' && truth.header.mirror?.mode === 'journal';

const noImageId = '0'.repeat(24);

async function copyWhole(
  deps: MirrorDeps,
  source: ImageSpec,
  target: ImageSpec,
  options: { deep: boolean; limits: CopyLimits },
): Promise<void> {
  let begun: string | undefined;
  for (let steps = 0; steps < 1000; steps++) {
    const { done, imageId } = await copyStep(deps, source, target, { ...options, begun });
    begun = imageId;
    if (done) return;
  }
}

async function flattenWhole(deps: MirrorDeps, spec: ImageSpec, limits: CopyLimits): Promise<void> {
  for (let steps = 0; steps < 1000; steps++) if ((await flattenStep(deps, spec, { limits })).done) return;
}

export async function importContent(
  deps: MirrorDeps,
  spec: ImageSpec,
  content: Buffer,
  options: {
    update: boolean;
    objectBytes?: number;
    features?: string[];
    compression: 'auto' | 'none';
  },
): Promise<void> {
  const running = await startImport(deps, spec, options);
  for (let at = 0; at < content.length; at += running.chunkBytes)
    await running.write(at, content.subarray(at, at + running.chunkBytes));
  await running.finish(content.length);
}

/** Reads the head or a snapshot, and compares with what the image showed when its header was read. */
async function exportContent(
  deps: MirrorDeps,
  spec: ImageSpec,
  snap: string | undefined,
  truth: ImageTruth | undefined,
): Promise<void> {
  const { value: header } = await openHeader(deps, spec);
  const shown = truth?.imageId === header.imageId ? truth.view : undefined;
  const { root, sizeBytes } = snap === undefined ? header : findUserSnapshot(header, snap);
  const expected = snap === undefined ? shown?.content : shown?.snapshots.find(({ name }) => name === snap)?.content;
  const store = openStore(deps, header);
  try {
    const bytes = await readRange(store, root, header.objectBytes, {
      offset: 0,
      length: sizeBytes,
    });
    const isWhole = snap !== undefined || !hasTail(header);
    if (isWhole && expected && expected.bytes.compare(bytes) !== 0)
      throw new Violation('I1', `an export of '${spec.image}' differs from what it showed`);
  } catch (error) {
    const isStillThere =
      root !== null &&
      truth !== undefined &&
      reachableRoots(truth.header).some(({ pack, entry }) => pack === root.pack && entry === root.entry);
    if (error instanceof FarsideError && error.code === 'EBADMSG' && isStillThere)
      throw new Violation('I7', `an export of '${spec.image}' fails: ${error.message}`);
    throw error;
  }
}
