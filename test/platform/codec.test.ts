// What the command line encodes in Node must decode in workerd, whose zlib is another one.

import { join } from 'node:path';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { expect, test } from 'vitest';
import { encodeEntry } from '../../lib/image/format/codec.ts';
import { seededRandom } from '../image/model.ts';

const unitBytes = 512;
const entries = 1500;

test('entries of every length and kind of content, encoded in Node, decode in workerd', async () => {
  const bundle = await build({
    entryPoints: [join(import.meta.dirname, 'codec-worker.ts')],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    external: ['node:*'],
  });
  const script = bundle.outputFiles[0]!.text;
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: '127.0.0.1',
      port: 0,
      cf: false,
      modules: true,
      script,
      compatibilityDate: '2026-10-01',
      compatibilityFlags: ['nodejs_compat'],
    }),
  );
  try {
    const posted = Array.from({ length: entries }, (_, i) => sample(i)).map((raw, i) => {
      const { entry, encoded } = encodeEntry(1, i * 65_536, raw, 'auto');
      return {
        entry: { ...entry, hash: entry.hash.toString('hex') },
        encoded: Buffer.from(encoded).toString('base64'),
      };
    });
    const answer = await miniflare.dispatchFetch('http://worker/', { method: 'POST', body: JSON.stringify(posted) });
    expect(await answer.json()).toEqual({ decoded: entries, failed: [] });
    expect(posted.filter(({ entry }) => entry.encoding === 1).length).toBeGreaterThan(entries / 2);
  } finally {
    await miniflare.dispose();
  }
});

/** Text, tables, zeros and random bytes, of 1 to 128 sectors. */
function sample(i: number): Uint8Array {
  const random = seededRandom(i);
  const raw = Buffer.alloc(unitBytes * (1 + (i % 128)));
  for (let at = 0; at < raw.length; at += unitBytes) {
    const kind = (i + (i % 3 === 0 ? 0 : Math.floor(random.fraction() * 4))) % 4;
    const line = `${i} ${at} the quick brown fox jumps over the lazy dog, and the disk far away shall know of it\n`;
    if (kind < 2) raw.write(line.repeat(8), at, unitBytes);
    if (kind === 3 && i % 5 === 0) raw.set(random.bytes(unitBytes), at);
    if (kind === 3) raw.writeUInt32LE(i * at, at);
  }
  return raw;
}
