// `journal export` and `journal import`: what a writer did to one image is done to another, whole or not at all, whatever a
// stream holds.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { journalStream, openJournal, type JournalPlayOptions } from '../../lib/cli/transfer/export-journal.ts';
import { importJournal } from '../../lib/cli/transfer/import-journal.ts';
import type { Source } from '../../lib/cli/transfer/source.ts';
import { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { createImage } from '../../lib/image/images.ts';
import { systemRandom } from '../../lib/random.ts';
import { mutated, mutations } from '../mutations.ts';
import { collect, memorySite, readImage, seededRandom, spec, type MemorySite } from '../image/model.ts';
import { localSite, type LocalSite } from './local-site.ts';
import { Sessions } from './sessions.ts';

const KiB = 1024;
const sizeBytes = 256 * KiB;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const limits = { ...attachLimitsDefault, foldSegmentsMax: 1000 };
const bytes = (seed: number, length: number): Buffer => Buffer.from(seededRandom(seed).bytes(length));
const quiet: JournalPlayOptions = { noError: false, progress: { update: () => {} } };

/** Bytes written, or zeros; each is a segment of its own. */
type Step = { offset: number; data: Buffer } | { offset: number; zeros: number };
const steps: Step[] = [
  { offset: 0, data: bytes(1, 64 * KiB) },
  { offset: 4096, data: bytes(2, 4096) },
  { offset: 8192, zeros: 16 * KiB },
  { offset: 12 * KiB, data: bytes(3, 512) },
  { offset: sizeBytes - 512, data: bytes(4, 512) },
];

async function writeSteps(image: AttachedImage, given: readonly Step[] = steps): Promise<void> {
  for (const step of given) {
    if ('data' in step) await image.write(step.offset, step.data);
    else await image.zero(step.offset, step.zeros);
    await image.flush();
  }
}

const attach = (deps: ImageDeps, name = 'vm'): Promise<AttachedImage> =>
  AttachedImage.open(deps, spec(name), { owner, limits });

/** An image whose journal has the steps, and another of the same size. */
async function siteWithJournal(): Promise<MemorySite> {
  const deps = await memorySite({ collectGraceMs: 0 });
  for (const name of ['vm', 'copy']) await createImage(deps, spec(name), { sizeBytes });
  const image = await attach(deps);
  await writeSteps(image);
  await image.close();
  return deps;
}

async function exported(deps: ImageDeps, options: Partial<JournalPlayOptions> = {}): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  const tally = { entries: 0, errors: 0 };
  const stream = journalStream(deps, await openJournal(deps, spec('vm')), tally, { ...quiet, ...options });
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

/** In parts whose ends mean nothing. */
const sourceOf = (stream: Buffer): Source => ({
  sizeBytes: stream.length,
  // oxlint-disable-next-line require-yield -- nobody asks for chunks
  async *chunks() {
    throw new Error('a journal is read as bytes');
  },
  async *bytes() {
    for (let at = 0; at < stream.length; at += 1000) yield stream.subarray(at, at + 1000);
  },
  close: async () => {},
});

const imported = (deps: ImageDeps, stream: Buffer, options: Partial<JournalPlayOptions> = {}, name = 'copy') =>
  importJournal(deps, spec(name), sourceOf(stream), { ...quiet, compression: undefined, ...options });

const contentOf = async (deps: ImageDeps, name: string): Promise<Buffer> => Buffer.from(await readImage(deps, name));

async function damageSlot(deps: MemorySite, seq: number): Promise<void> {
  const { imageId, journal } = (await openHeader(deps, spec('vm'))).value;
  const key = keyText({ kind: 'slot', imageId, epoch: journal!.folded.epoch, seq });
  const found = await deps.bucket.get(key);
  if (found.status !== 'found') throw new Error('the test expects a segment there');
  const body = Buffer.from(found.body);
  body[body.length - 1]! ^= 1;
  await deps.bucket.replace(key, body, found.meta.etag);
}

const sectorsOf = (content: Buffer): { offset: number; data: Buffer }[] =>
  Array.from({ length: content.length / 512 }, (_, index) => index * 512).map((offset) => ({
    offset,
    data: content.subarray(offset, offset + 512),
  }));

/** All that a sector may have been after some of the steps. */
const written = (offset: number): Buffer[] => [
  Buffer.alloc(512),
  ...steps.flatMap((step) => {
    const at = offset - step.offset;
    return 'data' in step && at >= 0 && at < step.data.length ? [step.data.subarray(at, at + 512)] : [];
  }),
];

describe('a journal', () => {
  test('that is replayed onto an image of zeros makes it equal to its own', async () => {
    const deps = await siteWithJournal();
    expect(await imported(deps, await exported(deps))).toEqual({ entries: steps.length, errors: 0 });
    expect(await contentOf(deps, 'copy')).toEqual(await contentOf(deps, 'vm'));
  });

  test('that is replayed again, or onto other content, gives what the writer wrote and leaves the rest', async () => {
    const deps = await siteWithJournal();
    const other = await attach(deps, 'copy');
    await writeSteps(other, [{ offset: 0, data: bytes(9, 128 * KiB) }]);
    await other.close();
    const stream = await exported(deps);
    for (let times = 0; times < 2; times++) await imported(deps, stream);
    const expected = await contentOf(deps, 'vm');
    bytes(9, 128 * KiB).copy(expected, 64 * KiB, 64 * KiB);
    expect(await contentOf(deps, 'copy')).toEqual(expected);
  });

  test('that loses a slot to collection while it is exported is not passed off as a shorter one', async () => {
    const deps = await siteWithJournal();
    const journal = await openJournal(deps, spec('vm'));
    await deps.bucket.delete([keyText({ kind: 'slot', imageId: journal.header.imageId, ...journal.from, seq: 2 })]);
    const read = async (): Promise<void> => {
      for await (const _ of journalStream(deps, journal, { entries: 0, errors: 0 }, quiet));
    };
    await expect(read()).rejects.toMatchObject({ code: 'EBADMSG', message: expect.stringContaining('collected') });
  });

  test('of an image in use is exported up to what was flushed', async () => {
    const deps = await siteWithJournal();
    const image = await attach(deps);
    await writeSteps(image, steps.slice(0, 2));
    await image.write(100 * KiB, bytes(7, 512));
    expect(await imported(deps, await exported(deps))).toEqual({ entries: 2, errors: 0 });
    await image.close();
  });

  test('whose older segments collection has thinned out is exported from the first that is whole', async () => {
    const deps = await siteWithJournal();
    await collect(deps, 'vm');
    const stream = await exported(deps);
    const tally = await imported(deps, stream);
    expect(tally.errors).toBe(0);
    expect(tally.entries).toBeGreaterThan(0);
    expect(tally.entries).toBeLessThan(steps.length);
    const [copy, whole] = [await contentOf(deps, 'copy'), await contentOf(deps, 'vm')];
    expect(copy.subarray(-512)).toEqual(whole.subarray(-512));
  });

  test('that an image never had is refused; one that was never written is a stream without segments', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes });
    await createImage(deps, spec('copy'), { sizeBytes });
    await expect(exported(deps)).rejects.toMatchObject({ code: 'EINVAL' });
    await (await attach(deps)).close();
    expect(await imported(deps, await exported(deps))).toEqual({ entries: 0, errors: 0 });
  });

  test('is refused by an image that is smaller, in use, or not there', async () => {
    const deps = await siteWithJournal();
    const stream = await exported(deps);
    await createImage(deps, spec('small'), { sizeBytes: sizeBytes - 512 });
    await expect(imported(deps, stream, {}, 'small')).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(imported(deps, stream, {}, 'none')).rejects.toMatchObject({ code: 'ENOENT' });
    const image = await attach(deps, 'copy');
    await expect(imported(deps, stream)).rejects.toMatchObject({ code: 'EBUSY' });
    await image.close();
  });
});

describe('a damaged segment', () => {
  test('ends an export; with noError it is left out, and the stream says so', async () => {
    const deps = await siteWithJournal();
    const expected = await contentOf(deps, 'vm');
    await damageSlot(deps, 3);
    await expect(exported(deps)).rejects.toMatchObject({ code: 'EBADMSG' });
    const said: number[] = [];
    const stream = await exported(deps, { noError: true, onDamage: (seq) => said.push(seq) });
    expect(said).toEqual([3]);
    const before = await openHeader(deps, spec('copy'));
    await expect(imported(deps, stream)).rejects.toMatchObject({ code: 'EBADMSG' });
    expect(await openHeader(deps, spec('copy'))).toEqual(before);
    expect(await imported(deps, stream, { noError: true })).toEqual({ entries: steps.length - 1, errors: 1 });
    expected.fill(0, 12 * KiB, 12 * KiB + 512);
    expect(await contentOf(deps, 'copy')).toEqual(expected);
  });
});

describe('a hostile stream', () => {
  test('that was changed or cut off anywhere leaves the image as it was, and says why', async () => {
    const deps = await siteWithJournal();
    const stream = await exported(deps);
    const before = await openHeader(deps, spec('copy'));
    await fc.assert(
      fc.asyncProperty(mutations, async (changes) => {
        const changed = mutated(stream, changes);
        fc.pre(!changed.subarray(0, stream.length).equals(stream));
        const failure = await imported(deps, changed).catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(FarsideError);
        expect(['EBADMSG', 'EINVAL']).toContain((failure as FarsideError).code);
        expect(await openHeader(deps, spec('copy'))).toEqual(before);
      }),
      { numRuns: 200 },
    );
  });

  test('gives with noError nothing but what the writer wrote, or is refused', async () => {
    const deps = await siteWithJournal();
    const stream = await exported(deps);
    await fc.assert(
      fc.asyncProperty(mutations, async (changes) => {
        const outcome = await imported(deps, mutated(stream, changes), { noError: true }).catch(
          (error: unknown) => error,
        );
        const isRefused = outcome instanceof FarsideError && ['EBADMSG', 'EINVAL'].includes(outcome.code);
        const isCounted = !(outcome instanceof Error) && (outcome as { entries: number }).entries <= steps.length;
        expect([isRefused, isCounted]).toContain(true);
      }),
      { numRuns: 100 },
    );
    const content = await contentOf(deps, 'copy');
    const strange = sectorsOf(content).filter(({ offset, data }) => !written(offset).some((one) => one.equals(data)));
    expect(strange).toEqual([]);
  });
});

describe('the command line', () => {
  const ok = { exitCode: 0, stderr: '' };
  async function withSite(work: (site: LocalSite, deps: ImageDeps) => Promise<void>): Promise<void> {
    const site = await localSite();
    try {
      const deps = site.deps();
      for (const name of ['vm', 'copy']) await createImage(deps, spec(name), { sizeBytes });
      const image = await attach(deps);
      await writeSteps(image);
      await image.close();
      await work(site, deps);
    } finally {
      await site.remove();
    }
  }
  const count = `${steps.length} entries processed, 0 errors\n`;

  test('carries a journal through a file and through a pipe', async () => {
    await withSite(async (site, deps) => {
      const path = join(site.root, 'journal');
      expect(await site.cli(['journal', 'export', 'vm', path])).toEqual({ ...ok, stdout: Buffer.from(count) });
      const piped = await site.cli(['journal', 'export', '--image', 'vm', '--path', '-']);
      expect(piped).toEqual({ exitCode: 0, stdout: await readFile(path), stderr: count });
      const { imageId } = (await openHeader(deps, spec('vm'))).value;
      expect((await site.cli(['journal', 'export', '--journal', imageId, '-'])).stdout).toEqual(piped.stdout);
      expect(await site.cli(['journal', 'import', '-', 'copy'], { stdin: piped.stdout })).toEqual({
        ...ok,
        stdout: Buffer.from(count),
      });
      expect(await contentOf(deps, 'copy')).toEqual(await contentOf(deps, 'vm'));
      expect((await site.cli(['journal', 'import', path, '--dest', 'copy', '--dest-pool', 'rbd'])).exitCode).toBe(0);
      const copy = (await openHeader(deps, spec('copy'))).value.imageId;
      expect((await site.cli(['journal', 'import', '--path', path, '--dest-journal', copy])).exitCode).toBe(0);
      expect((await site.cli(['journal', 'export', 'vm', path])).exitCode).toBe(17);
    });
  });

  test('shows each segment with --verbose, beside a stream on stdout', async () => {
    await withSite(async (site) => {
      const { stdout, stderr } = await site.cli(['journal', 'export', 'vm', '-', '--verbose']);
      expect(stderr).toMatch(/^Entry: tag_id=1, commit_tid=0\n\{\n/);
      expect(stderr.match(/"event_type": "AioWrite"/g)).toHaveLength(4);
      const verbose = await site.cli(['journal', 'import', '-', 'copy', '--verbose'], { stdin: stdout });
      expect(verbose.stdout.toString()).toBe(stderr);
    });
  });

  test('leaves no file of an export that failed, and says what was damaged and left out', async () => {
    await withSite(async (site, deps) => {
      const { imageId } = (await openHeader(deps, spec('vm'))).value;
      const listed = await deps.bucket.list({ prefix: prefixes.journal(imageId), limit: 10 });
      const key = listed.objects[1]!.key;
      const found = await deps.bucket.get(key);
      expect(found.status).toBe('found');
      const slot = found as Extract<typeof found, { status: 'found' }>;
      await deps.bucket.replace(key, slot.body.subarray(0, -1), slot.meta.etag);
      const path = join(site.root, 'journal');
      const failed = await site.cli(['journal', 'export', 'vm', path]);
      expect([failed.exitCode, failed.stderr]).toEqual([
        74,
        expect.stringMatching(
          /^farside: journal export failed: \(74\) Bad message\nslot 1 of the journal of image vm /,
        ),
      ]);
      await expect(readFile(path)).rejects.toMatchObject({ code: 'ENOENT' });
      const partly = await site.cli(['journal', 'export', 'vm', path, '--no-error']);
      expect([partly.exitCode, partly.stdout.toString()]).toEqual([74, '4 entries processed, 1 errors\n']);
      expect(partly.stderr).toMatch(/\nfarside: 1 damaged segment left out of the export\n$/);
      const refused = await site.cli(['journal', 'import', path, 'copy']);
      expect([refused.exitCode, refused.stdout.toString()]).toEqual([74, '']);
      const taken = await site.cli(['journal', 'import', path, 'copy', '--no-error']);
      expect([taken.exitCode, taken.stdout.toString()]).toEqual([74, '4 entries processed, 1 errors\n']);
      await writeFile(path, 'rbd image v2\n');
      expect((await site.cli(['journal', 'import', path, 'copy'])).exitCode).toBe(22);
    });
  });

  test('inspects segment by segment, and names a journal by its id', async () => {
    const sessions = await Sessions.start(['site-a']);
    const { bucket, clock } = sessions.site('site-a');
    await sessions.session([['pool create rbd'], ['create vm --size 256K --image-feature exclusive-lock,journaling']]);
    const deps: ImageDeps = { bucket, clock, random: systemRandom, settings: settingsDefault };
    const image = await attach(deps);
    await writeSteps(image, steps.slice(0, 2));
    const { imageId } = (await openHeader(deps, spec('vm'))).value;
    const { stdout } = await sessions.farside(`journal inspect --journal ${imageId} --verbose`);
    expect(stdout).toMatch(/^Entry: tag_id=1, commit_tid=0\n\{[^]*\nEntry: tag_id=1, commit_tid=1\n\{[^]*\nSummary:\n/);
    await sessions.session([
      [`journal inspect vm`, 'Summary:\n  2 entries inspected, 0 errors\n'],
      [`journal info --journal none`, 'farside: error opening image none: (2) No such file or directory\n', 2],
      [
        `journal info --journal ${imageId} --image vm`,
        'farside: specify either the image or the journal, not both\n',
        22,
      ],
    ]);
    await image.close();
    await sessions.end();
  });
});
