// Owns what all explanations of a change share: where it happened, what it changed, and who made it.

import type { Header } from '../../../lib/image/header.ts';
import type { Pool } from '../../../lib/mirror/pool.ts';
import type { BucketReader } from '../bucket-reader.ts';
import { viewOf, viewText, type ImageView } from '../image-view.ts';
import type { JournalTruth } from './journal-truth.ts';
import type { Operation } from '../operation.ts';
import type { Origin } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import type { ImageTruth, Point } from './image-truth.ts';

/** What is true beyond one site. */
export type World = {
  readonly journals: JournalTruth;
  guard(check: () => void): void;
  register(point: Point): void;
  point(mirrorUuid: string, globalId: string, snapId: number): Point | undefined;
  hasTombstone(siteName: string, globalId: string): boolean;
};

/** A site, as explanations need it. `slots`: of schedules, the newest that was taken of each image. */
export type Place = {
  readonly name: string;
  mirrorUuid: string;
  readonly world: World;
  readonly reader: BucketReader;
  readonly objects: ReadonlyMap<string, Buffer>;
  readonly images: Map<string, ImageTruth>;
  readonly removedImages: Set<ImageTruth>;
  readonly slots: Map<string, number>;
  /** The pool's document, and which of its namespaces have ever mirrored images for their features. */
  pool: Pool | undefined;
  readonly haveMirroredByFeature: Set<string>;
};

/** A header that changes. */
export type Moment = {
  place: Place;
  truth: ImageTruth;
  before: Header;
  header: Header;
  view: ImageView;
  origin: Origin;
  operation: Operation | undefined;
};

/** As if there were nothing in its journal. */
export const rootView = ({ reader, objects }: Place, header: Header): ImageView =>
  viewOf(reader, objects, header, true);

/** Anybody may fold, also on the way to something else. */
export const isFold = (before: Header, { journal }: Header): boolean =>
  journal !== undefined && JSON.stringify(journal.folded) !== JSON.stringify(before.journal?.folded);

/** Somebody wants its writer to hold still, is answered, or wants it no more; and nothing else. */
export const isAsking = (before: Header, header: Header): boolean =>
  JSON.stringify(before.journal?.quiesce) !== JSON.stringify(header.journal?.quiesce) &&
  before.nextSnapshotId === header.nextSnapshotId;

export const bears = (operation: Operation, truth: ImageTruth): boolean => truth.names.has(operation.imageName);

export const unexplained = (truth: ImageTruth, what: string): Violation =>
  new Violation('model', `${truth.title}: ${what}, and nothing explains it`);

export function expectView(truth: ImageTruth, expected: ImageView, view: ImageView, operation: Operation): void {
  if (viewText(expected) === viewText(view)) return;
  throw new Violation(
    'model',
    `${truth.title} after '${operation.title}' is ${viewText(view)}, expected ${viewText(expected)}`,
  );
}
