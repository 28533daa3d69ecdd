// Owns the map nodes of one image that are kept in memory: as they are stored, and those that were used last also decoded, since who
// reads on asks for the same leaf again and again. Nodes never change.

import { LRUCache } from 'lru-cache';
import { FarsideError } from '../../errors.ts';
import { decodeNode, type Node, type PackRef } from '../format/node.ts';

/** As the map names it (pack-store.ts). */
type Pack = Exclude<PackRef, 'self'>;

/** Extents and children of nodes that are kept decoded: some 100 bytes each. */
const decodedItemsMax = 32_768;

export class NodeCache {
  readonly #leafSectors: number;
  readonly #raws: LRUCache<string, Uint8Array>;
  readonly #decoded: LRUCache<string, Node<Pack>>;

  /** @param bytesMax of nodes as they are stored. */
  constructor(bytesMax: number, leafSectors: number) {
    this.#leafSectors = leafSectors;
    this.#raws = new LRUCache({ maxSize: bytesMax, sizeCalculation: (raw) => raw.length + 100 });
    this.#decoded = new LRUCache({
      maxSize: decodedItemsMax,
      sizeCalculation: ({ extents, children }) => extents.length + children.length + 1,
    });
  }

  put(pack: Pack, entryIndex: number, raw: Uint8Array): void {
    this.#raws.set(keyOf(pack, entryIndex), raw);
  }

  raw(pack: Pack, entryIndex: number): Uint8Array | undefined {
    return this.#raws.get(keyOf(pack, entryIndex));
  }

  decoded(pack: Pack, entryIndex: number, level: number): Node<Pack> | undefined {
    const node = this.#decoded.get(keyOf(pack, entryIndex));
    return node?.level === level ? node : undefined;
  }

  /** The node, its pack references made concrete. EBADMSG: what is stored is no node, or one of another level. */
  decode(pack: Pack, entryIndex: number, level: number, raw: Uint8Array): Node<Pack> {
    const node = decodeNode(raw, this.#leafSectors);
    // Taken for another level it would read as holes.
    if (node.level !== level) throw new FarsideError('EBADMSG', `its level is ${node.level}, not ${level}`);
    const found = concrete(node, pack);
    this.#decoded.set(keyOf(pack, entryIndex), found);
    return found;
  }
}

const keyOf = ({ packId }: Pack, entryIndex: number): string => `${packId}/${entryIndex}`;

function concrete(node: Node, holder: Pack): Node<Pack> {
  const resolve = (pack: PackRef): Pack => (pack === 'self' ? holder : pack);
  return {
    level: node.level,
    extents: node.extents.map((extent) => ({ ...extent, pack: resolve(extent.pack) })),
    children: node.children.map((child) => ({ ...child, pack: resolve(child.pack) })),
  };
}
