// Owns bringing an image with its snapshots in: a series of contents, each said by its difference from the one before. The image
// appears with all of them at once, or not at all.

import { assert } from '../../errors.ts';
import type { Compression } from '../format/codec.ts';
import { readLevels } from '../config.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import type { Header } from '../header.ts';
import { newHeader, type CreateOptions } from '../images.ts';
import { beginNew, publishNew, type NewUpload } from './import-new.ts';
import { newMeta } from '../meta.ts';
import { compressionDefault, creationOf, type AskedCreation } from '../options.ts';
import { Patch } from '../map/patch.ts';
import { withSnapshot, type NewSnapshot } from '../snapshots.ts';

/** Options of the pool decide what of a new image is left open. */
export type HistoryOptions = AskedCreation & {
  meta: readonly (readonly [key: string, value: string])[];
  compression?: Compression | undefined;
};

export class HistoryImport {
  readonly #deps: ImageDeps;
  readonly #spec: ImageSpec;
  readonly #compression: Compression;
  readonly #begun: NewUpload;
  #header: Header;
  #patch: Patch | undefined;

  /** EEXIST: the name is taken. EINVAL, EFBIG, ENOSPC: metadata that no image can have. */
  static async start(deps: ImageDeps, spec: ImageSpec, options: HistoryOptions): Promise<HistoryImport> {
    const levels = await readLevels(deps, spec.pool);
    const create: CreateOptions = {
      sizeBytes: 0,
      ...creationOf(options, spec.pool, levels),
      initial: { meta: newMeta(options.meta, spec.image) },
    };
    const compression = options.compression ?? compressionDefault(levels);
    const begun = await beginNew(deps, spec, create);
    return new HistoryImport(deps, spec, compression, begun, newHeader(deps, spec, begun.imageId, create));
  }

  private constructor(deps: ImageDeps, spec: ImageSpec, compression: Compression, begun: NewUpload, header: Header) {
    this.#deps = deps;
    this.#spec = spec;
    this.#compression = compression;
    this.#begun = begun;
    this.#header = header;
  }

  /** What the image is so far. */
  get header(): Header {
    return this.#header;
  }

  /** Takes what differs from the content so far; ended by `endStep`. */
  beginStep(): Patch {
    assert(!this.#patch, 'a step of an import begins within another');
    this.#patch = new Patch(this.#deps, this.#header, { compression: this.#compression, resume: this.#begun.resumed });
    return this.#patch;
  }

  /** EEXIST, ENOSPC, EINVAL: as `createSnapshot`. */
  async endStep(sizeBytes: number, snapshot: NewSnapshot | undefined): Promise<void> {
    assert(this.#patch, 'a step of an import ends that has not begun');
    const { root } = await this.#patch.finish(sizeBytes);
    this.#patch = undefined;
    const moved = { ...this.#header, root, sizeBytes };
    this.#header = snapshot ? withSnapshot(moved, snapshot, this.#deps.clock.nowMs()) : moved;
  }

  /** EEXIST: another image took the name meanwhile; nothing else has changed then. */
  async finish(): Promise<void> {
    await publishNew(this.#deps, this.#spec, this.#begun, this.#header);
  }
}
