// A process of its own that uses a FileDriver beside others; `file.test.ts` starts it: node file-child.ts MODE DIRECTORY NAME.

import fs from 'node:fs';

import { FileDriver } from '../../lib/bucket/file.ts';

const [mode, directory, name] = process.argv.slice(2) as [string, string, string];
const driver = new FileDriver(directory);

/** Reaches the parent even if this process is killed right after. */
const say = (line: string): void => void fs.writeSync(1, `${line}\n`);

const raceKeyCount = 50;
const incrementCount = 25;

/** Tries to create every key; says which ones it won. */
async function create(): Promise<void> {
  for (let index = 0; index < raceKeyCount; index++) {
    const outcome = await driver.put(`race/${index}`, Buffer.from(name), 'absent');
    if (outcome.status === 'stored') say(`race/${index}`);
  }
}

async function increment(): Promise<void> {
  for (let count = 0; count < incrementCount;) {
    const found = await driver.get('counter');
    if (found.status !== 'found') throw new Error('no counter');
    const next = Number(Buffer.from(found.body).toString()) + 1;
    const outcome = await driver.put('counter', Buffer.from(String(next)), { etag: found.meta.etag });
    if (outcome.status === 'stored') count += 1;
  }
}

/** Replaces `victim` whenever it is there, until killed. */
async function replace(): Promise<void> {
  say('ready');
  for (;;) {
    const meta = await driver.head('victim');
    if (meta) await driver.put('victim', Buffer.from(name), { etag: meta.etag });
    else await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Makes and empties the same directories as its siblings. */
async function churn(): Promise<void> {
  for (let index = 0; index < 60; index++) {
    const key = `churn/${index % 3}/${name}`;
    const outcome = await driver.put(key, Buffer.from(key), 'absent');
    if (outcome.status !== 'stored' || !(await driver.head(key))) throw new Error(`lost ${key}`);
    await driver.delete([key]);
  }
}

/** Writes packs and a document until killed; says each only when it was acknowledged. */
async function write(): Promise<void> {
  const first = await driver.head('document');
  let etag = first?.etag ?? '';
  for (let index = 0; ; index++) {
    const key = `packs/${name}/${index}`;
    await driver.put(key, new Uint8Array(400_000 + index).fill(index), 'absent');
    say(`${key} ${400_000 + index} ${index % 256}`);
    const body = Buffer.from(`${name} ${index} `.repeat(2_000));
    const outcome = await driver.put('document', body, etag === '' ? 'absent' : { etag });
    if (outcome.status !== 'stored') throw new Error('lost the document without a rival');
    etag = outcome.etag;
  }
}

const modes: Record<string, () => Promise<void>> = { create, increment, replace, churn, write };
await modes[mode]!();
