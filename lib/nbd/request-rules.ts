// Owns which requests are refused before a device sees them, and what a request may hold of memory. Pure.

import type { Device } from './device.ts';
import type { Refusal } from './error-value.ts';
import { cachePieceBytes, extentCountMax, type Limits } from './limits.ts';
import type { Request } from './request-codec.ts';
import { command, commandFlag } from './wire.ts';

/** What the negotiation has agreed on. */
export type Terms = { structured: boolean; allocation: boolean };

export function refuse(request: Request, device: Device, terms: Terms, limits: Limits): Refusal | undefined {
  return (
    refuseForm(request, terms) ??
    refuseChange(request, device) ??
    refuseRange(request, device) ??
    refuseLength(request, terms, limits)
  );
}

const invalid = (text: string): Refusal => ({ name: 'EINVAL', text });

function refuseForm({ type, flags, offset, length }: Request, terms: Terms): Refusal | undefined {
  const allowed = flagsOf(type, terms);
  if (allowed === undefined) return invalid(`unknown command ${type}`);
  if ((flags & ~allowed) !== 0) return invalid(`flags ${flags} are not known of command ${type}`);
  if (type === command.flush && (offset !== 0 || length !== 0)) return invalid('a flush has no offset and no length');
  if (type !== command.blockStatus) return undefined;
  if (!terms.allocation) return invalid('no metadata context was selected for this export');
  return length === 0 ? invalid('a block status of nothing') : undefined;
}

/** FUA is known of every command, by the protocol. undefined: an unknown command. */
function flagsOf(type: number, terms: Terms): number | undefined {
  const { fua, noHole, df, reqOne, fastZero } = commandFlag;
  const flags: Record<number, number> = {
    [command.read]: fua | (terms.structured ? df : 0),
    [command.write]: fua,
    [command.flush]: fua,
    [command.trim]: fua,
    [command.cache]: fua,
    [command.writeZeroes]: fua | noHole | fastZero,
    [command.blockStatus]: fua | reqOne,
  };
  return flags[type];
}

const changing: ReadonlySet<number> = new Set([command.write, command.trim, command.writeZeroes]);

function refuseChange({ type }: Request, device: Device): Refusal | undefined {
  if (!device.readOnly || !changing.has(type)) return undefined;
  return { name: 'EPERM', text: 'the export is read-only' };
}

function refuseRange({ type, offset, length }: Request, device: Device): Refusal | undefined {
  if (offset + length <= device.sizeBytes) return undefined;
  const text = `${length} bytes at ${offset} reach beyond the end at ${device.sizeBytes}`;
  return { name: type === command.write || type === command.writeZeroes ? 'ENOSPC' : 'EINVAL', text };
}

/** Only payload counts: zeros, discards and questions may be of any length. */
function refuseLength({ type, length }: Request, terms: Terms, limits: Limits): Refusal | undefined {
  if (length <= limits.requestBytesMax) return undefined;
  const text = `${length} bytes in one request: at most ${limits.requestBytesMax} are allowed`;
  if (type === command.write) return invalid(text);
  if (type !== command.read) return undefined;
  return { name: terms.structured ? 'EOVERFLOW' : 'EINVAL', text };
}

/** The memory that a request needs for what is written or read, until its reply is sent. */
export function payloadBytesOf({ type, length }: Request): number {
  if (type === command.read || type === command.write) return length;
  return type === command.cache ? Math.min(length, cachePieceBytes) : 0;
}

/** What a request holds of memory until its reply is sent, at most. */
export function bytesHeldBy(request: Request): number {
  return request.type === command.blockStatus ? extentCountMax * 8 : payloadBytesOf(request);
}
