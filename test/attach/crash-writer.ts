// A process for crash tests: waits for its task, attaches images of a bucket in a directory, writes the pattern into all of them,
// and tells what was flushed. It is killed.

import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { attachForCrashes, crashDeps, writeOn, type ImageTask, type WriterTask } from './crash-image.ts';

process.stdin.setEncoding('utf8');
const [line] = (await once(process.stdin, 'data')) as [string];
const task = JSON.parse(line) as WriterTask;
const deps = crashDeps(task.directory, task.terms);

async function writeInto(one: ImageTask): Promise<never> {
  const attached = await attachForCrashes(deps, one.image, task.walDirectory);
  // On one line, at once: a pipe takes it whole.
  return await writeOn({ deps, attached }, one, (seq) => void writeSync(1, `${one.image} ${seq}\n`));
}

await Promise.all(task.images.map(writeInto));
