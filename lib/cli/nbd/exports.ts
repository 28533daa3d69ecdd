// Owns what `nbd serve` serves: images opened as exports, under the names that rbd prints for them. All are opened before the first
// client comes, so that whoever starts a server hears at once what stands in the way.

import { AttachedImage, type AttachOptions } from '../../attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../attach/limits.ts';
import type { QuiesceHook } from '../../attach/quiescence.ts';
import type { BlockStore } from '../../attach/read-cache.ts';
import { ReadOnlyImage } from '../../attach/read-only-image.ts';
import { FarsideError } from '../../errors.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import type { JournalOwner } from '../../image/header.ts';
import type { EpochId } from '../../image/ids.ts';
import type { Device, ExportEntry, ExportSource } from '../../nbd/device.ts';
import { isOwnerGone } from '../../node/attach-owner.ts';
import { quiesceHook } from '../../node/quiesce-hook.ts';
import { DiskLog, orphanText, replayLog } from '../../node/wal.ts';
import type { JournalClient } from '../client/journal.ts';
import { formatBytes, formatSpec } from '../parse/grammar.ts';
import { journalTeller } from './journal-teller.ts';
import { readOnlyDevice, writableDevice } from './device.ts';
import { openContent } from '../transfer/export.ts';

export type ImageExport = {
  name: string;
  description: string;
  device: Device;
  /** When it is written to. */
  image?: AttachedImage;
  log?: DiskLog | undefined;
};

export type OpenOptions = {
  owner: JournalOwner;
  limits: AttachLimits;
  readOnly: boolean;
  force: boolean;
  /** The site, to be told how far the journals are. */
  journal: Pick<JournalClient, 'advance'>;
  /** Where write-ahead logs are. */
  walDirectory: string | undefined;
  /** Blocks on a disk of this machine, for all of the images. */
  disk?: BlockStore | undefined;
  /** A program that is run around snapshots of the images, with an export's name. */
  quiesceHook: string | undefined;
  note: (line: string) => void;
};

/** Opens them all; those that were open are given back when one cannot be. EBUSY, EROFS, ENOENT. */
export async function openExports(
  deps: ImageDeps,
  specs: readonly ImageSpec[],
  options: OpenOptions,
): Promise<ImageExport[]> {
  checkDistinct(specs);
  const opened: ImageExport[] = [];
  try {
    for (const spec of specs) opened.push(await openExport(deps, spec, options));
    return opened;
  } catch (error) {
    await Promise.allSettled(opened.map(closeExport));
    throw error;
  }
}

function checkDistinct(specs: readonly ImageSpec[]): void {
  const names = specs.map(formatSpec);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new FarsideError('EINVAL', `${twice} is named twice`);
}

const openExport = (deps: ImageDeps, spec: ImageSpec, options: OpenOptions): Promise<ImageExport> =>
  options.readOnly || spec.snap !== undefined ? openReadOnly(deps, spec, options) : openWritable(deps, spec, options);

async function openReadOnly(deps: ImageDeps, spec: ImageSpec, { limits, disk }: OpenOptions): Promise<ImageExport> {
  const device = readOnlyDevice(new ReadOnlyImage(await openContent(deps, spec), limits, disk));
  return { name: formatSpec(spec), description: `${formatBytes(device.sizeBytes)}, read-only`, device };
}

async function openWritable(deps: ImageDeps, spec: ImageSpec, options: OpenOptions): Promise<ImageExport> {
  const { limits, force, journal, walDirectory } = options;
  if (walDirectory !== undefined) await replay(deps, spec, walDirectory, options.note);
  let log: DiskLog | undefined;
  const makeLog = ({ imageId, epoch }: { imageId: string; epoch: EpochId }): DiskLog =>
    (log = new DiskLog(walDirectory!, imageId, epoch));
  const tell = journalTeller(deps.clock, (advance) => journal.advance(spec, advance));
  const onAdvance = (position: { seq: number; entry: number }): void => tell({ epoch: image.epoch, ...position });
  const image = await AttachedImage.open(deps, spec, {
    ...quiescing(spec, options),
    limits,
    force,
    isGone: isOwnerGone,
    onRefused: (refusal) => options.note(refusedText(spec, refusal)),
    disk: options.disk,
    onAdvance,
    ...(walDirectory !== undefined && { wal: makeLog }),
  });
  const device = writableDevice(image);
  return { name: formatSpec(spec), description: `${formatBytes(device.sizeBytes)}, read-write`, device, image, log };
}

function quiescing(
  spec: ImageSpec,
  { owner, quiesceHook: program, note }: OpenOptions,
): Pick<AttachOptions, 'owner' | 'quiesceHook'> {
  if (program === undefined) return { owner };
  const hook = quiesceHook(program, formatSpec(spec));
  const told: QuiesceHook = (action) =>
    hook(action).catch((error: unknown) => {
      note(`farside: ${formatSpec(spec)}: ${(error as Error).message}`);
      throw error;
    });
  return { owner: { ...owner, quiesces: true }, quiesceHook: told };
}

const refusedText = (spec: ImageSpec, { message }: FarsideError): string =>
  `farside: ${formatSpec(spec)}: THE BUCKET REFUSES WHAT IS WRITTEN: ${message}\nit is kept and tried on for ${attachLimitsDefault.refusalPatienceMs / 60_000} minutes: renew the credentials`;

async function replay(deps: ImageDeps, spec: ImageSpec, directory: string, note: OpenOptions['note']): Promise<void> {
  const { segmentCount, orphans } = await replayLog(deps, spec, directory);
  if (segmentCount > 0)
    note(`farside: ${formatSpec(spec)}: ${segmentCount} segments of the write-ahead log are in the bucket`);
  for (const orphan of orphans) note(`farside: ${orphanText(orphan)}`);
}

/** Gives the image back. The log of one that was taken away is looked at when it is attached again. */
export async function closeExport({ image, log }: ImageExport): Promise<void> {
  await image?.close();
  await (image?.failure ? log?.close() : log?.remove());
}

/** The empty name is the first. */
export function exportSource(exports: readonly ImageExport[]): ExportSource {
  const find = (name: string): ImageExport | undefined =>
    name === '' ? exports[0] : exports.find((one) => one.name === name);
  const entry = ({ name, description }: ImageExport): ExportEntry => ({ name, description });
  return {
    list: async () => exports.map(entry),
    resolve: async (name) => {
      const found = find(name);
      return found && entry(found);
    },
    open: async (name) => find(name)?.device,
  };
}
