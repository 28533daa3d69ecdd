// Runs in workerd: decodes the entries that a test posts (JSON: entry fields, bytes as base64) and answers how many it could.

import { Buffer } from 'node:buffer';
import { decodeEntry } from '../../lib/image/format/codec.ts';
import type { Entry } from '../../lib/image/format/pack.ts';

type Posted = { entry: Omit<Entry, 'hash'> & { hash: string }; encoded: string };

export default {
  async fetch(request: Request): Promise<Response> {
    const failed: string[] = [];
    const posted = (await request.json()) as Posted[];
    for (const { entry, encoded } of posted) {
      try {
        decodeEntry({ ...entry, hash: Buffer.from(entry.hash, 'hex') }, Buffer.from(encoded, 'base64'));
      } catch (error) {
        failed.push(`${entry.rawBytes} bytes: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return Response.json({ decoded: posted.length - failed.length, failed: failed.slice(0, 5) });
  },
};
