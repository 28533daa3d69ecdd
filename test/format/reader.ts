// Owns a second reader of the on-bucket format, written from docs/format.md alone: it shares no code with the library,
// so that what both read alike is what the document says. It verifies all that the document gives to verify, and is slow.

import { createHash } from 'node:crypto';

import { check, entryContent, hash16, isFence, parseEvents, parseNode, parsePack, sectorBytes } from './pack-reader.ts';
import type { Extent, Pack, Reference, Slot } from './pack-reader.ts';

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
  journal?: { state: string; folded: Slot };
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

  /** Section 6: what is not in the root yet. */
  async readTail({ epoch, seq: first }: Slot): Promise<Buffer> {
    for (let seq = first; ; seq++) {
      const found = await this.get(slotKey(this.header.imageId, { epoch, seq }));
      if (found === undefined || isFence(Buffer.from(found), { epoch, seq })) return this.content;
      const pack = parsePack(idOf(found), found);
      for (const { begin, length, entry } of parseEvents(pack, { epoch, seq }))
        this.change(begin * sectorBytes, length * sectorBytes, entry === 0 ? undefined : blockOf(pack, entry));
    }
  }

  private change(offset: number, length: number, block?: { imageOffset: number; raw: Buffer }): void {
    check(block === undefined || block.imageOffset === offset, 'image offset of a change');
    check(block === undefined || block.raw.length === length, 'length of a change');
    if (offset >= this.sizeBytes) return;
    if (block === undefined) this.content.fill(0, offset, Math.min(offset + length, this.sizeBytes));
    else block.raw.copy(this.content, offset);
  }

  private async pack(reference: Reference): Promise<Pack> {
    let copies = this.packs.get(reference.pack);
    if (copies === undefined) {
      copies = await this.copies(reference);
      this.packs.set(reference.pack, copies);
    }
    const pack = copies.find((copy) => copy.entries[reference.entry]?.at !== undefined) ?? copies[0];
    check(pack !== undefined, 'the pack exists');
    check(pack.entries.length === reference.entryCount, 'number of entries in a reference');
    check(pack.completeBytes === reference.packBytes, 'bytes of the pack in a reference');
    return pack;
  }

  /** The image's own copy, then its parent's, and so on. */
  private async copies({ pack, slot }: Reference): Promise<Pack[]> {
    const copies: Pack[] = [];
    for (const imageId of [this.header.imageId, ...(this.header.parent?.packsIn ?? [])]) {
      const keys = [...(slot ? [slotKey(imageId, slot)] : []), `images/${imageId}/packs/${pack}`];
      for (const key of keys) {
        const bytes = await this.get(key);
        const isCopy =
          bytes !== undefined && !(slot && key === slotKey(imageId, slot) && isFence(Buffer.from(bytes), slot));
        if (isCopy) copies.push(parsePack(pack, bytes));
      }
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
      const used = await this.readNode(child, level - 1, firstLeaf + child.number * 256 ** (level - 1));
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
  const reader = new VersionReader(get, header, version.sizeBytes);
  const content = await reader.read(version.root);
  const isWhole = version !== header || header.journal === undefined || header.journal.state === 'closed';
  return isWhole ? content : await reader.readTail(header.journal!.folded);
}

const slotKey = (imageId: string, { epoch, seq }: Slot): string =>
  `images/${imageId}/journal/${epoch}/${String(seq).padStart(12, '0')}`;

/** Section 3: the hash of the entry list. A slot's key says nothing of the pack in it. */
function idOf(bytes: Uint8Array): string {
  check(bytes.length >= 16, 'a pack is at least a prefix');
  const listBytes = 40 * Buffer.from(bytes).readUInt32LE(12);
  return createHash('sha256')
    .update(bytes.subarray(16, 16 + listBytes))
    .digest('hex')
    .slice(0, 32);
}

function blockOf(pack: Pack, number: number): { imageOffset: number; raw: Buffer } {
  const entry = pack.entries[number];
  check(entry?.kind === 'block', 'a change names a block');
  return { imageOffset: entry.imageOffset, raw: entryContent(pack, number) };
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
