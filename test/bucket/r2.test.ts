import { fileURLToPath } from 'node:url';

import type { R2Bucket } from '@cloudflare/workers-types';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { describe, expect, test } from 'vitest';

import { HttpDriver } from '../../lib/bucket/http.ts';
import { R2Driver } from '../../lib/bucket/r2.ts';
import { describeBucket } from './conformance.ts';

async function startWorker(): Promise<Miniflare> {
  const entry = fileURLToPath(new URL('r2-worker.ts', import.meta.url));
  const bundle = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    write: false,
    external: ['node:*'],
    conditions: ['workerd'],
  });
  const worker = {
    name: 'store',
    modules: true as const,
    script: bundle.outputFiles[0]!.text,
    compatibilityDate: '2026-10-01',
    compatibilityFlags: ['nodejs_compat'],
    r2Buckets: { BUCKET: 'bucket' },
  };
  return new Miniflare(convertV4MiniflareOptions({ host: '127.0.0.1', port: 0, cf: false, workers: [worker] }));
}

describeBucket('r2 (in workerd)', async () => {
  const miniflare = await startWorker();
  const url = String(await miniflare.ready);
  return { open: () => new HttpDriver({ url, token: 'none', fetch }), close: () => miniflare.dispose() };
});

describe('r2 driver on faults that the emulator does not produce', () => {
  /** A binding whose every method fails with `error`. */
  const failing = (error: Error): R2Driver => {
    const fail = async (): Promise<never> => {
      throw error;
    };
    return new R2Driver({ get: fail, head: fail, put: fail, delete: fail, list: fail } as unknown as R2Bucket);
  };

  test.each([
    ['put: Reduce your concurrent request rate for the same object. (10058)', 'EAGAIN', 'later'],
    ['put: We encountered an internal error. Please try again. (10001)', 'EIO', 'later'],
    ['Network connection lost.', 'EIO', 'later'],
    ['put: Your metadata headers exceed the maximum allowed metadata size. (10012)', 'EFBIG', 'never'],
    ['get: Unauthorized. (10002)', 'EACCES', 'never'],
  ])('"%s" is %s, to be repeated %s', async (message, code, retry) => {
    const driver = failing(new Error(message));
    await expect(driver.put('x', new Uint8Array(), 'absent')).rejects.toMatchObject({ code, retry });
    await expect(driver.get('x')).rejects.toMatchObject({ code, retry });
    await expect(driver.head('x')).rejects.toMatchObject({ code, retry });
    await expect(driver.delete(['x'])).rejects.toMatchObject({ code, retry });
    await expect(driver.list({ prefix: '', limit: 1 })).rejects.toMatchObject({ code, retry });
  });

  test('a TypeError is a bug and passes through', async () => {
    await expect(failing(new TypeError('etag')).head('x')).rejects.toThrow(TypeError);
  });

  test('list follows empty pages to the first key, and not for ever', async () => {
    const object = { key: 'x', size: 1, etag: 'e', uploaded: new Date(5) };
    const pages = [
      { objects: [], truncated: true, cursor: 'c1' },
      { objects: [object], truncated: false },
    ];
    const asked: unknown[] = [];
    const list = async (options: unknown): Promise<unknown> => (asked.push(options), pages.shift());
    const driver = new R2Driver({ list } as unknown as R2Bucket);
    expect(await driver.list({ prefix: '', after: 'a', limit: 5 })).toEqual({
      objects: [{ key: 'x', bytes: 1, etag: 'e', uploadedAtMs: 5 }],
      more: false,
    });
    expect(asked).toEqual([
      { prefix: '', startAfter: 'a', limit: 5 },
      { prefix: '', cursor: 'c1', limit: 5 },
    ]);
    const endless = new R2Driver({
      list: async () => ({ objects: [], truncated: true, cursor: 'c' }),
    } as unknown as R2Bucket);
    await expect(endless.list({ prefix: '', limit: 5 })).rejects.toMatchObject({ code: 'EIO', retry: 'later' });
  });
});
