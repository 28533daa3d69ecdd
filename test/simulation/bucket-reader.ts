// Owns reading a site's bucket without a request, for checks: what a root reaches, whether every entry of it is there and
// sound, and the content below it. References commit to content (the map is a Merkle tree), so what a root reaches and means
// is worked out once, wherever it is seen first; whether a bucket *has* it is checked entry by entry, in every bucket.

import { createHash } from 'node:crypto';

import { keyText } from '../../lib/bucket/keys.ts';
import { decodeEntry } from '../../lib/image/format/codec.ts';
import { crc32 } from '../../lib/image/format/digest.ts';
import { hasTail, type Tailed } from '../../lib/image/journal/fold.ts';
import { packSources, type Header, type Root } from '../../lib/image/header.ts';
import { parseEpochId, parsePackId } from '../../lib/image/ids.ts';
import { decodeNode, sectorBytes, type PackRef, type Slot } from '../../lib/image/format/node.ts';
import { packKeys } from '../../lib/image/packs/pack-place.ts';
import { parsePackIndex, type PackIndex } from '../../lib/image/format/pack.ts';
import { fenceBytes, isFence } from '../../lib/image/format/fence.ts';
import { parseSegment, type Segment } from '../../lib/image/journal/segment.ts';

/** Content, and a text that is equal for equal content. */
export type Content = { bytes: Buffer; id: string };

export function contentOf(bytes: Buffer): Content {
  return { bytes, id: `${bytes.length}:${createHash('md5').update(bytes).digest('base64url')}` };
}

/** What is missing or damaged, as invariant I1 sees it. */
export class Unreadable extends Error {}

type Objects = ReadonlyMap<string, Buffer>;
/** An image, then its ancestors. */
type Sources = readonly string[];
type Sound = { index: PackIndex; body: Buffer; isBad: ReadonlySet<number> };
type Placed = { offset: number; length: number; block: Buffer; skipBytes: number };
type Tree = { packs: Map<string, Set<number>>; placed: Placed[] };

const soundOf = new WeakMap<Buffer, Sound>();
/** By pack: where it was born, of those that references say it of. */
const slots = new Map<string, Slot>();

/** The copies of a pack that an image may use: its own, and those of the images that it was cloned from. */
function copiesOf(objects: Objects, sources: Sources, packId: string): Sound[] {
  const copies = sources.flatMap((imageId) => opened(objects, imageId, packId));
  if (copies.length === 0) throw new Unreadable(`pack ${packId} of image ${sources[0]} is missing`);
  return copies;
}

const has = (copy: Sound, entryIndex: number): boolean => copy.index.isPresent(entryIndex);

const opened = (objects: Objects, imageId: string, packId: string): Sound[] =>
  packKeys(imageId, { packId: parsePackId(packId), slot: slots.get(packId) }).flatMap(
    (key) => open(objects, key, packId) ?? [],
  );

function open(objects: Objects, key: string, packId: string): Sound | undefined {
  const body = objects.get(key);
  if (!body || body.length === fenceBytes) return undefined;
  const known = soundOf.get(body);
  if (known) return known;
  const index = parsePackIndex(body, parsePackId(packId));
  const isBad = new Set<number>();
  for (let entryIndex = 0; entryIndex < index.entryCount; entryIndex++) {
    const { offset, length } = index.range(entryIndex);
    if (index.isPresent(entryIndex) && crc32(body.subarray(offset, offset + length)) !== index.entry(entryIndex).crc)
      isBad.add(entryIndex);
  }
  const sound = { index, body, isBad };
  soundOf.set(body, sound);
  return sound;
}

export class BucketReader {
  readonly #trees = new Map<string, Tree>();
  readonly #contents = new Map<string, Content>();
  readonly #heads = new Map<string, Content>();
  readonly #blocks = new Map<string, Buffer>();

  /** Throws `Unreadable` unless the bucket has every entry that the root reaches. */
  check(objects: Objects, sources: Sources, root: Root, objectBytes: number): void {
    const { packs } = this.#tree(objects, sources, root, objectBytes);
    for (const [packId, entries] of packs) {
      const copies = copiesOf(objects, sources, packId);
      for (const entryIndex of entries) {
        if (!copies.some((copy) => has(copy, entryIndex)))
          throw new Unreadable(`entry ${entryIndex} of pack ${packId} of image ${sources[0]} is missing`);
        if (copies.some((copy) => has(copy, entryIndex) && copy.isBad.has(entryIndex)))
          throw new Unreadable(`entry ${entryIndex} of pack ${packId} of image ${sources[0]} is damaged`);
      }
    }
  }

  /** Packs that a root reaches. */
  packsOf(objects: Objects, sources: Sources, root: Root, objectBytes: number): Iterable<string> {
    return this.#tree(objects, sources, root, objectBytes).packs.keys();
  }

  /** What an image with this root and size shows. */
  content(
    objects: Objects,
    sources: Sources,
    root: Root | null,
    shape: { objectBytes: number; sizeBytes: number },
  ): Content {
    const key = `${root ? `${root.pack}/${root.entry}` : 'empty'} ${shape.objectBytes} ${shape.sizeBytes}`;
    let content = this.#contents.get(key);
    if (!content) this.#contents.set(key, (content = contentOf(this.#paint(objects, sources, root, shape))));
    return content;
  }

  /** What an image shows now: its root, and over it what is in its journal and not in the root. */
  head(objects: Objects, header: Header): Content {
    const { root, objectBytes, sizeBytes } = header;
    const below = this.content(objects, packSources(header), root, { objectBytes, sizeBytes });
    if (!hasTail(header)) return below;
    const segments = this.#tailOf(objects, header.imageId, header.journal.folded);
    if (segments.length === 0) return below;
    const key = `${below.id} ${segments.map(({ pack }) => pack.packId).join(' ')}`;
    let content = this.#heads.get(key);
    if (!content) this.#heads.set(key, (content = contentOf(this.#overlaid(objects, header, below, segments))));
    return content;
  }

  /** The first slot of the open epoch that holds no segment. */
  endOf(objects: Objects, header: Tailed): number {
    const { seq } = header.journal.folded;
    return seq + this.#tailOf(objects, header.imageId, header.journal.folded).length;
  }

  #tailOf(objects: Objects, imageId: string, folded: { epoch: string; seq: number }): Segment[] {
    const epoch = parseEpochId(folded.epoch);
    const segments: Segment[] = [];
    for (let seq = folded.seq; ; seq++) {
      const body = objects.get(keyText({ kind: 'slot', imageId, epoch, seq }));
      if (!body || isFence(body, { epoch, seq })) return segments;
      const segment = parseSegment(body, { epoch, seq });
      slots.set(segment.pack.packId, { epoch, seq });
      segments.push(segment);
    }
  }

  #overlaid(objects: Objects, { imageId }: Header, below: Content, segments: readonly Segment[]): Buffer {
    const bytes = Buffer.from(below.bytes);
    const tree: Tree = { packs: new Map(), placed: [] };
    for (const { pack, changes } of segments)
      for (const { offset, length, entry } of changes) {
        if (offset >= bytes.length) continue;
        if (entry === undefined) bytes.fill(0, offset, Math.min(offset + length, bytes.length));
        else this.#entry({ objects, sources: [imageId], tree }, pack.packId, entry).copy(bytes, offset);
      }
    return bytes;
  }

  #paint(
    objects: Objects,
    sources: Sources,
    root: Root | null,
    { objectBytes, sizeBytes }: { objectBytes: number; sizeBytes: number },
  ): Buffer {
    const bytes = Buffer.alloc(sizeBytes);
    if (!root) return bytes;
    for (const { offset, length, block, skipBytes } of this.#tree(objects, sources, root, objectBytes).placed) {
      if (offset < sizeBytes) block.copy(bytes, offset, skipBytes, skipBytes + Math.min(length, sizeBytes - offset));
    }
    return bytes;
  }

  #tree(objects: Objects, sources: Sources, root: Root, objectBytes: number): Tree {
    const key = `${root.pack}/${root.entry} ${objectBytes}`;
    let tree = this.#trees.get(key);
    if (tree) return tree;
    tree = { packs: new Map(), placed: [] };
    this.#visit({ objects, sources, objectBytes, tree }, root.pack, root.entry, 0, root.level);
    this.#trees.set(key, tree);
    return tree;
  }

  #visit(
    context: { objects: Objects; sources: Sources; objectBytes: number; tree: Tree },
    packId: string,
    entry: number,
    firstLeaf: number,
    level: number,
  ): void {
    const { objectBytes, tree } = context;
    const node = decodeNode(this.#entry(context, packId, entry), objectBytes / sectorBytes);
    const nameOf = (pack: PackRef): string => {
      if (pack === 'self') return packId;
      if (pack.slot) slots.set(pack.packId, pack.slot);
      return pack.packId;
    };
    for (const extent of node.extents) {
      const block = this.#entry(context, nameOf(extent.pack), extent.entry);
      const offset = firstLeaf * objectBytes + extent.sector * sectorBytes;
      tree.placed.push({
        offset,
        length: extent.sectors * sectorBytes,
        block,
        skipBytes: extent.skip * sectorBytes,
      });
    }
    const span = level === 0 ? 0 : 256 ** (level - 1);
    for (const child of node.children)
      this.#visit(context, nameOf(child.pack), child.entry, firstLeaf + child.slot * span, level - 1);
  }

  /** Raw bytes, verified; noted as reached. */
  #entry(
    { objects, sources, tree }: { objects: Objects; sources: Sources; tree: Tree },
    packId: string,
    entryIndex: number,
  ): Buffer {
    const reached = tree.packs.get(packId);
    if (reached) reached.add(entryIndex);
    else tree.packs.set(packId, new Set([entryIndex]));
    const key = `${packId}/${entryIndex}`;
    const known = this.#blocks.get(key);
    if (known) return known;
    const copy = copiesOf(objects, sources, packId).find((one) => has(one, entryIndex));
    if (!copy) throw new Unreadable(`entry ${entryIndex} of pack ${packId} of image ${sources[0]} is missing`);
    const { index, body } = copy;
    const { offset, length } = index.range(entryIndex);
    const raw = Buffer.from(decodeEntry(index.entry(entryIndex), body.subarray(offset, offset + length)));
    this.#blocks.set(key, raw);
    return raw;
  }
}
