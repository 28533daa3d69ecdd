// Owns what explains a new image: a command that creates, imports, clones or copies, or mirroring, which makes it empty.

import { packSources } from '../../../lib/image/header.ts';
import type { Header } from '../../../lib/image/header.ts';
import { viewText, type ImageView } from '../image-view.ts';
import type { Operation } from '../operation.ts';
import type { Origin } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { ImageTruth } from './image-truth.ts';
import { expectView, unexplained, type Place } from './moment.ts';

export type Copied = NonNullable<Operation['copied']>;
export type Birth = { header: Header; view: ImageView; origin: Origin; operation: Operation | undefined };

export function created(place: Place, { header, view, origin, operation }: Birth): void {
  const truth = new ImageTruth(place.name, header, view);
  if (operation) {
    const effect = operation.take('create', 'clone', 'copy');
    if (!effect) throw unexplained(truth, `it appeared by '${operation.title}'`);
    const expected =
      effect.type === 'create'
        ? effect.view
        : effect.type === 'clone'
          ? cloned(place, header, view, operation)
          : copiedFrom(place, effect, view, operation);
    expectView(truth, expected, view, operation);
    operation.imageId = header.imageId;
    operation.touchedCount += 1;
  } else if (header.mirror?.state !== 'creating' || header.root !== null || header.snapshots.length > 0) {
    throw unexplained(truth, `it appeared by ${origin.label}`);
  }
  place.images.set(header.imageId, truth);
}

function cloned(
  { images, reader, objects }: Place,
  header: Header,
  view: ImageView,
  { imageName }: Operation,
): ImageView {
  const { objectBytes, parent } = header;
  const snapshot = images.get(parent?.imageId ?? '')?.header.snapshots.find(({ id }) => id === parent?.snapshotId);
  const { root, sizeBytes } = snapshot ?? { root: null, sizeBytes: 0 };
  const content = reader.content(objects, packSources(header), root, { objectBytes, sizeBytes });
  return { name: imageName, content, meta: view.meta, features: view.features, snapshots: [] };
}

/** Of one that bore the name: by then it may bear another. */
function copiedFrom(place: Place, copied: Copied, view: ImageView, operation: Operation): ImageView {
  if (view.name === operation.imageName && isCopy(place, copied, view)) return view;
  throw new Violation(
    'model',
    `'${operation.title}' made ${viewText(view)}, which no '${copied.source}' has ever shown`,
  );
}

function isCopy({ images, removedImages }: Place, { source, deep }: Copied, view: ImageView): boolean {
  const sources = [...images.values(), ...removedImages].filter(({ names }) => names.has(source));
  return sources.some((truth) => truth.hasShown(view, deep)) && (deep || view.snapshots.length === 0);
}

/** What an earlier run of the same command, or an import of the same, left without a name. */
export const copyOf = (place: Place, copied: Copied, name: string): ImageTruth | undefined =>
  [...place.images.values()].find(({ names, made }) => names.has(name) && isCopy(place, copied, made));
