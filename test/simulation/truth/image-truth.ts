// Owns what is true of one image at one site of a simulation: what it shows, its role, and its place in the true history.
//
// A *point* is one primary mirror snapshot. `line`: all points that an image's content descends from. So the truth knows, as
// no site does, whether two copies have diverged.

import { mirrorSnapshots } from '../../../lib/image/header.ts';
import type { Header, JournalPosition } from '../../../lib/image/header.ts';
import { viewText, type ImageView } from '../image-view.ts';
import type { Reach } from './journal-truth.ts';
import type { WriterLog } from '../writer-log.ts';

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
  /** How it is mirrored, or was before that was given up. */
  lastMode: 'snapshot' | 'journal' | undefined;
  /** Who has, or had, it attached. */
  writer: WriterLog | undefined;
  /** The newest answer of a writer to who wanted it to hold still: after so many of its requests. */
  quiet: { id: string; writer: WriterLog; requestCount: number | undefined } | undefined;
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

export const isWritable = (role: Role): boolean => role === 'plain' || role === 'primary';

export const describe = (point: Point | undefined): string =>
  point ? `snapshot ${point.snapId} of ${point.site}` : 'nothing';
