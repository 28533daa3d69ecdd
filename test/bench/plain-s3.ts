// The baselines on S3, each a process of its own, by the SDK and nothing else, four objects at a time:
//   node plain-s3.ts put ENDPOINT BUCKET SOURCE             reads a file, SHA-256s it, puts it as objects of 8 MiB
//   node plain-s3.ts copy ENDPOINT BUCKET TARGET KEY…       gets objects whole and puts them into another bucket

import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import pLimit from 'p-limit';
import { radosgwRegion } from '../radosgw/server.ts';

const objectBytes = 8 * 1024 * 1024;
const objectsMax = 4;

const [command, endpoint, bucket, ...rest] = process.argv.slice(2) as [string, string, string, ...string[]];
const client = new S3Client({
  endpoint,
  region: radosgwRegion,
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
});
const limit = pLimit(objectsMax);
if (command === 'put') await putFile(rest[0]!);
if (command === 'copy') await copyAll(rest[0]!, rest.slice(1));
process.exit(0);

function put(to: string, key: string, body: Uint8Array): Promise<unknown> {
  return client.send(new PutObjectCommand({ Bucket: to, Key: key, Body: body }));
}

async function putFile(source: string): Promise<void> {
  const file = openSync(source, 'r');
  const hash = createHash('sha256');
  const puts = new Set<Promise<unknown>>();
  for (let index = 0; ; index++) {
    const chunk = Buffer.allocUnsafe(objectBytes);
    const bytes = readSync(file, chunk);
    if (bytes === 0) break;
    hash.update(chunk.subarray(0, bytes));
    const sent: Promise<unknown> = put(bucket, `plain/${index}`, chunk.subarray(0, bytes)).finally(() =>
      puts.delete(sent),
    );
    puts.add(sent);
    if (puts.size === objectsMax) await Promise.race(puts);
  }
  await Promise.all(puts);
  closeSync(file);
  console.log(hash.digest('hex'));
}

async function copyAll(target: string, keys: readonly string[]): Promise<void> {
  await Promise.all(
    keys.map((key, index) =>
      limit(async () => {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
        await put(target, `plain/${index}`, await Body!.transformToByteArray());
      }),
    ),
  );
}
