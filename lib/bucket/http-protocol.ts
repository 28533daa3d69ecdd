// Owns what the `http` driver and the store endpoint of a site (lib/site/api/store.ts) say to each other: paths, headers,
// bodies, and which status stands for which outcome.
//
//   request                                     found / stored   absent   refused, changed   range holds no byte
//   GET|HEAD /v1/store/{key}  Range, If-Match   200, 206         404      412                416
//   PUT /v1/store/{key}  If-None-Match: * or    200              -        412                -
//                        If-Match
//   DELETE /v1/store/{key}                      204              204      -                  -
//   GET /v1/store?prefix=&after=&limit=         200
//   POST /v1/store:delete {"keys":[…]}          204
//
// A key is one path segment, percent-encoded as a whole, so its own slashes and percent signs are encoded too. The tag is
// quoted in headers. Failures have the body `{"error":{"code","message"}}`; 409 may be repeated at once, 429 and 5xx later.

import { z } from 'zod';

import { FarsideError } from '../errors.ts';
import type { ByteRange, Etag } from './driver.ts';
import { deleteKeysMax } from './rules.ts';

export const storePath = '/v1/store';
export const storeDeletePath = '/v1/store:delete';

/** Size of the whole object, also in answers that carry a part of it or none. */
export const bytesHeader = 'x-farside-bytes';
export const uploadedHeader = 'x-farside-uploaded-at-ms';

/** Largest object the endpoint takes; the largest that farside makes is about 8 MiB. */
export const storeBodyBytesMax = 32 * 1024 * 1024;

export const objectSchema = z.object({
  key: z.string(),
  bytes: z.int().nonnegative(),
  etag: z.string(),
  uploadedAtMs: z.number(),
});
export const listPageSchema = z.object({ objects: z.array(objectSchema), more: z.boolean() });
export const deleteSchema = z.object({ keys: z.array(z.string()).max(deleteKeysMax) });
export const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export const formatTag = (etag: Etag): string => `"${etag}"`;

/** Intermediaries may mark a tag as weak when they compress; it is the same tag. */
export function parseTag(header: string): Etag | undefined {
  return /^(?:W\/)?"([^"*]+)"$/.exec(header)?.[1];
}

/** `length` is at least 1. */
export const formatRange = ({ offset, length }: ByteRange): string => `bytes=${offset}-${offset + length - 1}`;

/** EINVAL unless the header is one range with both ends. */
export function parseRange(header: string): ByteRange {
  const match = /^bytes=(\d{1,15})-(\d{1,16})$/.exec(header);
  const offset = Number(match?.[1]);
  const length = Number(match?.[2]) - offset + 1;
  if (match && length > 0) return { offset, length };
  throw new FarsideError('EINVAL', `unsupported Range '${header}': use bytes=<first>-<last>`);
}
