// Owns a second reader of the on-bucket format, written from docs/format.md alone: it shares no code with the library,
// so that what both read alike is what the document says. It verifies all that the document gives to verify, and is slow.

import { check, entryContent, hash16, parseNode, parsePack, sectorBytes } from './pack-reader.ts';
import type { Extent, Pack, Reference } from './pack-reader.ts';

export type Get = (key: string) => Promise<Uint8Array | undefined>;
export type Wanted = { pool: string; namespace?: string; image: string; snapshot?: string };

type Root = {
  pack: string;
  entry: number;
  entryCount: number;
  packBytes: number;
  level: number;
  hash: string;
  usedBytes: number;
};
type Version = { root: Root | null; sizeBytes: number };
type Header = Version & {
  version: number;
  imageId: string;
  pool: string;
  namespace: string;
  name: string;
  removing?: boolean;
  parent?: { packsIn: string[] };
  objectBytes: number;
  snapshots: (Version & { name: string; namespace: { type: string } })[];
};

/** Section 5, for a whole version of an image. */
class VersionReader {
  private readonly packs = new Map<string, Pack[]>();
  private readonly get: Get;
  private readonly header: Header;
  private readonly sizeBytes: number;
  private readonly content: Buffer;

  constructor(get: Get, header: Header, sizeBytes: number) {
    this.get = get;
    this.header = header;
    this.sizeBytes = sizeBytes;
    this.content = Buffer.alloc(sizeBytes);
  }

  async read(root: Root | null): Promise<Buffer> {
    if (root === null) return this.content;
    const entry = Buffer.alloc(4);
    entry.writeUInt32LE(root.entry);
    check(hash16(Buffer.from(root.pack, 'hex'), entry) === root.hash, 'hash of the root');
    const usedSectors = await this.readNode(root, root.level, 0);
    check(usedSectors * sectorBytes === root.usedBytes, 'used bytes of the root');
    return this.content;
  }

  private async pack(reference: Reference): Promise<Pack> {
    let copies = this.packs.get(reference.pack);
    if (copies === undefined) {
      copies = await this.copies(reference.pack);
      this.packs.set(reference.pack, copies);
    }
    const pack = copies.find((copy) => copy.entries[reference.entry]?.at !== undefined) ?? copies[0];
    check(pack !== undefined, 'the pack exists');
    check(pack.entries.length === reference.entryCount, 'number of entries in a reference');
    check(pack.completeBytes === reference.packBytes, 'bytes of the pack in a reference');
    return pack;
  }

  /** The image's own copy, then its parent's, and so on. */
  private async copies(packId: string): Promise<Pack[]> {
    const copies: Pack[] = [];
    for (const imageId of [this.header.imageId, ...(this.header.parent?.packsIn ?? [])]) {
      const bytes = await this.get(`images/${imageId}/packs/${packId}`);
      if (bytes !== undefined) copies.push(parsePack(packId, bytes));
    }
    return copies;
  }

  /** The sectors in use below. */
  private async readNode(reference: Reference, level: number, firstLeaf: number): Promise<number> {
    const { objectBytes } = this.header;
    const pack = await this.pack(reference);
    const entry = pack.entries[reference.entry];
    check(entry?.kind === 'node', 'a child is a node');
    check(entry.imageOffset === firstLeaf * objectBytes, 'image offset of a node');
    const node = parseNode(entryContent(pack, reference.entry), pack, objectBytes);
    check(node.level === level, 'level of a node');
    let usedSectors = 0;
    for (const extent of node.extents) {
      await this.readExtent(extent, firstLeaf * objectBytes + extent.begin * sectorBytes);
      usedSectors += extent.length;
    }
    for (const child of node.children) {
      const used = await this.readNode(child, level - 1, firstLeaf + child.slot * 256 ** (level - 1));
      check(used === child.usedSectors, 'used sectors of a child');
      usedSectors += used;
    }
    return usedSectors;
  }

  private async readExtent(extent: Extent, imageOffset: number): Promise<void> {
    const pack = await this.pack(extent);
    const entry = pack.entries[extent.entry];
    check(entry?.kind === 'block', 'the data of an extent are a block');
    check(entry.imageOffset === imageOffset - extent.skip * sectorBytes, 'image offset of a block');
    const begin = extent.skip * sectorBytes;
    const end = begin + extent.length * sectorBytes;
    check(end <= entry.rawBytes, 'an extent lies within its block');
    if (imageOffset < this.sizeBytes) {
      entryContent(pack, extent.entry).copy(this.content, imageOffset, begin, end);
    }
  }
}

/** Every byte of an image, or of one of its user's snapshots. Throws Damage when anything is not as the document says. */
export async function readStored(get: Get, wanted: Wanted): Promise<Buffer> {
  const header = await findHeader(get, wanted);
  check(header.version === 1, 'version of the header');
  const isWanted = (one: Header['snapshots'][number]): boolean =>
    one.namespace.type === 'user' && one.name === wanted.snapshot;
  const version = wanted.snapshot === undefined ? header : header.snapshots.find(isWanted);
  check(version !== undefined, 'the snapshot exists');
  return await new VersionReader(get, header, version.sizeBytes).read(version.root);
}

async function findHeader(get: Get, { pool, namespace = '', image }: Wanted): Promise<Header> {
  const folder = namespace === '' ? '_' : `n-${encodeName(namespace)}`;
  const key = `pools/${encodeName(pool)}/names/${folder}/${encodeName(image)}.json`;
  const name = (await readDocument(get, key)) as { imageId: string | null };
  check(name.imageId !== null, 'the name is in use');
  const header = (await readDocument(get, `images/${name.imageId}/header.json`)) as Header;
  const isOf = header.pool === pool && header.namespace === namespace && header.name === image;
  check(isOf && header.removing !== true, 'the header bears the name');
  return header;
}

async function readDocument(get: Get, key: string): Promise<unknown> {
  const bytes = await get(key);
  check(bytes !== undefined, `${key} exists`);
  return (JSON.parse(Buffer.from(bytes).toString('utf8')) as { value: unknown }).value;
}

const encodeName = (name: string): string => encodeURIComponent(name).replaceAll('.', '%2E');
