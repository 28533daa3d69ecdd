// Owns the way of packs into the bucket: closes full ones, uploads several at once and holds the producer back when the
// bucket is slow. Memory: `transfersMax` packs being uploaded, and those that are open.
//
// Packs are content-addressed, so a repeated upload is harmless. What is already there is recognised in two ways:
// put-if-absent says so, or, when resuming, a HEAD does before any byte is sent.

import type { Bucket } from '../../bucket/bucket.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import type { Settings } from '../deps.ts';
import type { ImageId, PackId } from '../ids.ts';
import { OpenPack, Rooms } from './open-pack.ts';
import { indexBytes, type EncodedPack } from '../format/pack.ts';
import type { Pack } from './pack-store.ts';

export type UploadStats = { packs: number; bytes: number; packsPresent: number };

export type PackWriterOptions = {
  bucket: Bucket;
  imageId: ImageId;
  settings: Pick<Settings, 'packBytes' | 'transfersMax'>;
  /** Ask whether a pack is there before uploading it. */
  resume: boolean;
};

const replacesMax = 10;

export class PackWriter {
  readonly #options: PackWriterOptions;
  readonly #uploads = new Set<Promise<void>>();
  readonly #rooms: Rooms;
  #failure: Error | undefined;
  /** Every pack that was handed to this writer, and its bytes when complete. */
  readonly written = new Map<PackId, number>();
  readonly stats: UploadStats = { packs: 0, bytes: 0, packsPresent: 0 };

  constructor(options: PackWriterOptions) {
    this.#options = options;
    this.#rooms = new Rooms(options.settings.packBytes);
  }

  /** A pack to be filled and closed. */
  open(): OpenPack {
    return new OpenPack(this.#rooms);
  }

  get packBytesMax(): number {
    return this.#options.settings.packBytes;
  }

  /** Settles the pack's id and starts its upload; waits first while too many are under way. */
  async close(pack: OpenPack): Promise<Pack> {
    const { encoded, free } = pack.close();
    this.written.set(encoded.packId, encoded.bytes.length);
    while (this.#uploads.size >= this.#options.settings.transfersMax) await Promise.race(this.#uploads);
    this.#throwFailure();
    const upload: Promise<void> = this.#upload(encoded)
      .then(() => {
        // Only then: a failed or repeated request may still be sending these bytes.
        if (this.#options.bucket.freesBody) free();
      })
      .catch((error: unknown) => {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => this.#uploads.delete(upload));
    this.#uploads.add(upload);
    return { packId: encoded.packId, entryCount: encoded.entryCount, packBytes: encoded.bytes.length };
  }

  /** Resolves when every pack is durable; throws the first upload's failure. */
  async drain(): Promise<void> {
    await Promise.all(this.#uploads);
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure;
  }

  async #upload(pack: EncodedPack): Promise<void> {
    const { bucket, imageId, resume } = this.#options;
    const key = keyText({ kind: 'pack', imageId, packId: pack.packId });
    if (resume && (await bucket.head(key))?.bytes === pack.bytes.length) {
      this.stats.packsPresent++;
      return;
    }
    const outcome = await bucket.create(key, pack.bytes);
    if (!outcome.created) await this.#complete(key, pack);
    this.stats.packs++;
    this.stats.bytes += pack.bytes.length;
  }

  /** An older copy is there; collection may have left it sparse. Make it whole. */
  async #complete(key: string, pack: EncodedPack): Promise<void> {
    const { bucket } = this.#options;
    for (let tries = 0; tries < replacesMax; tries++) {
      const meta = await bucket.head(key);
      if (meta?.bytes === pack.bytes.length) return;
      const done = meta
        ? (await bucket.replace(key, pack.bytes, meta.etag)).replaced
        : (await bucket.create(key, pack.bytes)).created;
      if (done) return;
    }
    throw new FarsideError('EAGAIN', `pack ${pack.packId} keeps changing while it is uploaded; try again`, {
      retry: 'later',
    });
  }
}

/** Bytes of a pack with so many entries and so much payload. */
export const packSizeBytes = (entryCount: number, payloadBytes: number): number =>
  indexBytes(entryCount) + payloadBytes;
