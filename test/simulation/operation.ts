// Owns a command that an operator or a client runs in a simulation: what it may do to an image, step by step, and what it has
// done so far. The ground truth compares every change of a header with it.

import type { Change, ImageView } from './image-view.ts';
import type { WriterLog } from './writer-log.ts';

export type Effect =
  | { type: 'create'; view: ImageView }
  /** A new image with the content of the snapshot that it is linked to. */
  | { type: 'clone' }
  /** A new image with what the other showed at some time. */
  | { type: 'copy'; source: string; deep: boolean }
  /** Out of the trash, under another name if one is given. */
  | { type: 'restore'; name: string | undefined }
  | { type: 'write'; change: Change }
  | {
      type: 'enable' | 'snapshot' | 'promote' | 'demote' | 'disable' | 'resync' | 'remove' | 'trash';
    }
  /** The enabling of a clone whose parent was disabled meanwhile. */
  | { type: 'take back' };

export type OperationOptions = {
  what: string;
  siteName: string;
  imageName: string;
  /** In the order in which they may happen, each at most once; an earlier one may be skipped. */
  effects: readonly Effect[];
  /** Success without any change of the header is a lie. */
  mustLand?: boolean;
  /** A refusal may come after an effect. */
  mayRefuseLate?: boolean;
  /** Of one that attaches the image. */
  writer?: WriterLog;
  /** Of one that takes a snapshot: it demands that the writer holds still. */
  isQuiescing?: boolean;
};

export class Operation {
  readonly what: string;
  readonly siteName: string;
  readonly imageName: string;
  readonly mustLand: boolean;
  readonly mayRefuseLate: boolean;
  readonly writer: WriterLog | undefined;
  readonly #left: Effect[];
  /** What a new image shows; another run of the same command may have made it. */
  readonly created: ImageView | undefined;
  /** What it copies; the same goes for that. */
  readonly copied: Extract<Effect, { type: 'copy' }> | undefined;
  /** Of the image that it changed first. */
  imageId: string | undefined;
  /** Header versions that it wrote, those without visible change included. */
  touchedCount = 0;
  landedCount = 0;
  readonly isQuiescing: boolean;
  /** Of the images that it may be about: epochs of writers that had a hook when it began. */
  readonly quiescing = new Set<string>();

  constructor(options: OperationOptions) {
    const {
      what,
      siteName,
      imageName,
      effects,
      mustLand = false,
      mayRefuseLate = false,
      writer,
      isQuiescing = false,
    } = options;
    this.what = what;
    this.siteName = siteName;
    this.imageName = imageName;
    this.mustLand = mustLand;
    this.mayRefuseLate = mayRefuseLate;
    this.writer = writer;
    this.isQuiescing = isQuiescing;
    this.#left = [...effects];
    this.created = effects.find((effect) => effect.type === 'create')?.view;
    this.copied = effects.find((effect) => effect.type === 'copy');
  }

  /** The next effect of one of these types, used up; undefined when the command has none such left. */
  take<Type extends Effect['type']>(...types: readonly Type[]): Extract<Effect, { type: Type }> | undefined {
    const at = this.#left.findIndex((effect) => (types as readonly string[]).includes(effect.type));
    if (at < 0) return undefined;
    this.landedCount += 1;
    return this.#left.splice(0, at + 1).at(-1) as Extract<Effect, { type: Type }>;
  }

  /** Nothing is left of what it did, so it may be refused. */
  tookBack(): void {
    this.landedCount = 0;
  }

  get title(): string {
    return `${this.what} at ${this.siteName}`;
  }
}
