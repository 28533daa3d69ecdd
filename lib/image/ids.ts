// Owns the identities of the storage engine. Each is a branded string with one constructor, so that no other text passes
// for one.

import { FarsideError } from '../errors.ts';
import type { Random } from '../random.ts';

declare const brand: unique symbol;
type Brand<Name extends string> = string & { readonly [brand]: Name };

/** 24 lower-case hex digits, drawn at random; unique within a site. */
export type ImageId = Brand<'ImageId'>;
/** 32 lower-case hex digits: the first 128 bits of the SHA-256 of the pack's entry list (docs/format.md). */
export type PackId = Brand<'PackId'>;

/** 16 lower-case hex digits, drawn at random: one period in which one writer may append to an image's journal. */
export type EpochId = Brand<'EpochId'>;

const epochIdPattern = /^[0-9a-f]{16}$/;
const imageIdPattern = /^[0-9a-f]{24}$/;
const packIdPattern = /^[0-9a-f]{32}$/;

export function parseImageId(text: string): ImageId {
  if (!imageIdPattern.test(text)) throw new FarsideError('EINVAL', `invalid image id '${text.slice(0, 64)}'`);
  return text as ImageId;
}

export const isImageId = (text: string): text is ImageId => imageIdPattern.test(text);

export function parsePackId(text: string): PackId {
  if (!packIdPattern.test(text)) throw new FarsideError('EINVAL', `invalid pack id '${text.slice(0, 64)}'`);
  return text as PackId;
}

export function parseEpochId(text: string): EpochId {
  if (!epochIdPattern.test(text)) throw new FarsideError('EINVAL', `invalid epoch id '${text.slice(0, 64)}'`);
  return text as EpochId;
}

export const newEpochId = (random: Random): EpochId => parseEpochId(Buffer.from(random.bytes(8)).toString('hex'));

export const newImageId = (random: Random): ImageId => parseImageId(Buffer.from(random.bytes(12)).toString('hex'));
