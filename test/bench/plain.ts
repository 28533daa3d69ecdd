// The baselines, each a process of its own, as what it is compared with is one:
//   node plain.ts copy SOURCE TARGET          read a file, SHA-256 it, write it (fsync), 4 MiB at a time
//   node plain.ts serve DIRECTORY             a plain HTTP server of a directory's files; prints its port
//   node plain.ts fetch PORT TARGET NAME…     fetches them, four at a time, and writes each to a file (fsync)

import { createHash } from 'node:crypto';
import { closeSync, createReadStream, fsyncSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import pLimit from 'p-limit';

const chunkBytes = 4 * 1024 * 1024;
const fetchesMax = 4;

const [command, ...args] = process.argv.slice(2);
if (command === 'copy') copy(args[0]!, args[1]!);
if (command === 'serve') serve(args[0]!);
if (command === 'fetch') await fetchAll(Number(args[0]), args[1]!, args.slice(2));

function copy(source: string, target: string): void {
  const [from, to] = [openSync(source, 'r'), openSync(target, 'w')];
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(chunkBytes);
  for (let bytes = readSync(from, chunk); bytes > 0; bytes = readSync(from, chunk)) {
    hash.update(chunk.subarray(0, bytes));
    writeSync(to, chunk, 0, bytes);
  }
  fsyncSync(to);
  closeSync(to);
  console.log(hash.digest('hex'));
}

function serve(directory: string): void {
  const server = createServer((request, response) => {
    const path = join(directory, basename(request.url ?? ''));
    response.setHeader('content-length', statSync(path).size);
    createReadStream(path, { highWaterMark: 1024 * 1024 }).pipe(response);
  });
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
}

async function fetchAll(port: number, target: string, names: readonly string[]): Promise<void> {
  const limit = pLimit(fetchesMax);
  await Promise.all(
    names.map((name) =>
      limit(async () => {
        const body = new Uint8Array(await (await fetch(`http://127.0.0.1:${port}/${name}`)).arrayBuffer());
        const file = await open(join(target, name), 'w');
        await file.write(body);
        await file.sync();
        await file.close();
      }),
    ),
  );
}
