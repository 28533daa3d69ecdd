// Owns reading a response's body without trusting its sender about its size.

import { FarsideError } from '../errors.ts';

/** EFBIG beyond `bytesMax`; the rest is not read. */
export async function readBounded(response: Response, bytesMax: number): Promise<Uint8Array> {
  const announced = Number(response.headers.get('content-length') ?? Number.NaN);
  if (announced > bytesMax) throw tooLarge(response, bytesMax);
  // A body without encoding is as long as announced, so it can be taken in one piece.
  const isPlain = (response.headers.get('content-encoding') ?? 'identity') === 'identity';
  if (isPlain && Number.isInteger(announced)) return new Uint8Array(await response.arrayBuffer());
  return collect(response, bytesMax);
}

async function collect(response: Response, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge(response, bytesMax);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

const tooLarge = (response: Response, bytesMax: number): FarsideError =>
  new FarsideError('EFBIG', `${new URL(response.url || 'http://unknown').host} sent more than ${bytesMax} bytes`);
