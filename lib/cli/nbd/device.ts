// Owns how images in use, and contents that are only read, are served as devices of NBD. Only translates.

import type { AttachedImage } from '../../attach/attached-image.ts';
import type { ReadOnlyImage } from '../../attach/read-only-image.ts';
import { FarsideError } from '../../errors.ts';
import type { Device } from '../../nbd/device.ts';

/** What a page cache writes at once; smaller blocks are served as well. */
const preferredBlockBytes = 4096;

/** Holes are not kept allocated, whatever is asked: an image has no room of its own that could run out. The image is closed elsewhere. */
export const writableDevice = (image: AttachedImage): Device => ({
  get sizeBytes() {
    return image.sizeBytes;
  },
  readOnly: false,
  canMultiConn: true,
  preferredBlockBytes,
  read: (offset, target) => image.readInto(offset, target),
  write: (offset, data) => image.write(offset, data),
  zero: (offset, length) => image.zero(offset, length),
  discard: (offset, length) => image.discard(offset, length),
  flush: () => image.flush(),
  extents: (offset, length) => image.extents(offset, length),
  close: async () => {},
});

const refused = async (): Promise<never> => {
  throw new FarsideError('EROFS', 'the export is read-only');
};

export const readOnlyDevice = (image: ReadOnlyImage): Device => ({
  sizeBytes: image.sizeBytes,
  readOnly: true,
  canMultiConn: true,
  preferredBlockBytes,
  read: (offset, target) => image.readInto(offset, target),
  extents: (offset, length) => image.extents(offset, length),
  write: refused,
  zero: refused,
  discard: refused,
  flush: async () => {},
  close: async () => {},
});
