// Owns what a user sees of an image, as plain values: name, size, content, metadata, user snapshots. Also the expected result
// of each command on it, which is the model that the engine is held to.

import { packSources, type Header, type Snapshot } from '../../lib/image/header.ts';
import { contentOf, type BucketReader, type Content } from './bucket-reader.ts';

export type UserSnapshotView = { name: string; content: Content; isProtected: boolean; isKept: boolean };

export type ImageView = {
  name: string;
  content: Content;
  meta: Record<string, string>;
  features: readonly string[];
  snapshots: UserSnapshotView[];
};

export const emptyView = (name: string, content: Buffer): ImageView => ({
  name,
  content: contentOf(content),
  meta: {},
  features: ['deep-flatten', 'exclusive-lock', 'fast-diff', 'layering', 'object-map'],
  snapshots: [],
});

/** Without those that say who may write, and how it is mirrored. */
const featuresOf = (features: readonly string[]): string[] =>
  features.filter((name) => name !== 'non-primary' && name !== 'journaling').toSorted();

type Objects = ReadonlyMap<string, Buffer>;

/** `rootOnly`: as if there were nothing in its journal. */
export function viewOf(reader: BucketReader, objects: Objects, header: Header, rootOnly = false): ImageView {
  const { objectBytes } = header;
  const sources = packSources(header);
  const snapshotView = ({ name, root, sizeBytes, protected: isProtected, namespace }: Snapshot): UserSnapshotView => ({
    name,
    content: reader.content(objects, sources, root, { objectBytes, sizeBytes }),
    isProtected,
    isKept: namespace.type === 'user' && namespace.keep === true,
  });
  return {
    name: header.name,
    content: rootOnly
      ? reader.content(objects, sources, header.root, { objectBytes, sizeBytes: header.sizeBytes })
      : reader.head(objects, header),
    meta: header.meta,
    features: featuresOf(header.features),
    snapshots: header.snapshots.filter(({ namespace }) => namespace.type === 'user').map(snapshotView),
  };
}

/** As a mirror snapshot recorded it: what a replica at this snapshot must show. */
export function recordedView(reader: BucketReader, objects: Objects, header: Header, snapshot: Snapshot): ImageView {
  if (snapshot.namespace.type !== 'mirror') throw new Error('not a mirror snapshot');
  const { image } = snapshot.namespace;
  const { objectBytes } = header;
  const sources = packSources(header);
  return {
    name: image.name,
    content: reader.content(objects, sources, snapshot.root, { objectBytes, sizeBytes: snapshot.sizeBytes }),
    meta: image.meta,
    features: featuresOf(image.features),
    snapshots: image.snapshots
      .filter(({ trashName }) => trashName === undefined)
      .map(({ name, root, sizeBytes, protected: isProtected }) => ({
        name,
        content: reader.content(objects, sources, root, { objectBytes, sizeBytes }),
        isProtected,
        isKept: false,
      })),
  };
}

const snapshotText = ({ name, content, isProtected }: UserSnapshotView): string =>
  `${name} ${content.id}${isProtected ? ' protected' : ''}`;
const sortedMeta = (meta: Record<string, string>): string =>
  JSON.stringify(Object.entries(meta).toSorted(([a], [b]) => (a < b ? -1 : 1)));

/** Equal for views that a user cannot tell apart. `replicated`: without what a resync kept, which only this site has. */
export function viewText(view: ImageView, { replicated = false }: { replicated?: boolean } = {}): string {
  const snapshots = view.snapshots
    .filter(({ isKept }) => !(replicated && isKept))
    .map((one) => `${snapshotText(one)}${one.isKept ? ' kept' : ''}`);
  return [view.name, view.content.id, sortedMeta(view.meta), view.features.join(','), ...snapshots.toSorted()].join(
    ' | ',
  );
}

export type Change = (view: ImageView) => ImageView;

const withSnapshot =
  (name: string, change: (snapshot: UserSnapshotView) => UserSnapshotView[]): Change =>
  (view) => ({
    ...view,
    snapshots: view.snapshots.flatMap((snapshot) => (snapshot.name === name ? change(snapshot) : [snapshot])),
  });

/** The model: what each command makes of an image. */
export const changes = {
  none: (view: ImageView): ImageView => view,
  content:
    (bytes: Buffer): Change =>
    (view) => ({ ...view, content: contentOf(bytes) }),
  size:
    (sizeBytes: number): Change =>
    (view) => {
      const bytes = Buffer.alloc(sizeBytes);
      view.content.bytes.copy(bytes, 0, 0, Math.min(sizeBytes, view.content.bytes.length));
      return { ...view, content: contentOf(bytes) };
    },
  name:
    (name: string): Change =>
    (view) => ({ ...view, name }),
  createSnapshot:
    (name: string): Change =>
    (view) => ({
      ...view,
      snapshots: [...view.snapshots, { name, content: view.content, isProtected: false, isKept: false }],
    }),
  removeSnapshot: (name: string): Change => withSnapshot(name, () => []),
  renameSnapshot: (name: string, newName: string): Change =>
    withSnapshot(name, (snapshot) => [{ ...snapshot, name: newName }]),
  protectSnapshot: (name: string, isProtected: boolean): Change =>
    withSnapshot(name, (snapshot) => [{ ...snapshot, isProtected }]),
  rollback:
    (name: string): Change =>
    (view) => ({
      ...view,
      content: view.snapshots.find((snapshot) => snapshot.name === name)?.content ?? view.content,
    }),
  purge: (view: ImageView): ImageView => ({
    ...view,
    snapshots: view.snapshots.filter(({ isProtected }) => isProtected),
  }),
  /** object-map and fast-diff go together. */
  features:
    (feature: string, action: 'enable' | 'disable'): Change =>
    (view) => {
      const named = feature === 'deep-flatten' ? [feature] : ['object-map', 'fast-diff'];
      const others = view.features.filter((name) => !named.includes(name));
      return { ...view, features: action === 'enable' ? [...others, ...named].toSorted() : others };
    },
  meta:
    (key: string, value: string | undefined): Change =>
    (view) => {
      const { [key]: _, ...rest } = view.meta;
      return { ...view, meta: value === undefined ? rest : { ...rest, [key]: value } };
    },
};
