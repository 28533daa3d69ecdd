// A document as a session: the commands of its `console` blocks, what they are shown to say, and which are repeated until they do.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type DocumentStep = { line: string; said: string; waits: boolean };

export function readSteps(document: string): DocumentStep[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs', document), 'utf8');
  const blocks = [...text.matchAll(/^```console\n(.*?)^```$/gms)].map((match) => match[1]!);
  return blocks.flatMap(stepsOf);
}

function stepsOf(block: string): DocumentStep[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n');
      const line = part.slice(0, end);
      return { line: line.replace(/ # until$/, ''), said: part.slice(end + 1), waits: line.endsWith(' # until') };
    });
}
