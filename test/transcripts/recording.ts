// Recorded sessions of a real rbd (Ceph 16.2.15), one JSON object a line; see recordings/README.md.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const commandSchema = z.strictObject({
  n: z.number(),
  t: z.number(),
  cmd: z.string(),
  rc: z.number(),
  stdout: z.string(),
  stderr: z.string(),
  dur: z.number(),
  note: z.string().optional(),
});
/** A status that was polled, each time that it changed. `status` null: the command failed. */
const pollSchema = z.strictObject({
  n: z.number(),
  t: z.number(),
  poll: z.string(),
  after_s: z.number(),
  rc: z.number(),
  stderr: z.string(),
  status: z.unknown(),
});
const noteSchema = z.strictObject({ n: z.number(), t: z.number(), note: z.string() });
const recordSchema = z.union([commandSchema, pollSchema, noteSchema]);

export const recordingNames = ['a-pool', 'a2-pool-peers-disable', 'b-image'] as const;
export type RecordingName = (typeof recordingNames)[number];

/** One command and what it said. Of polls in a row only the last is kept, as the command that has to be waited for. */
export type Step = {
  recording: RecordingName;
  n: number;
  atSeconds: number;
  line: string;
  exitCode: number;
  stdout: string;
  stderr: string;
  waits: boolean;
};

export function readRecording(recording: RecordingName): Step[] {
  const text = readFileSync(join(import.meta.dirname, 'recordings', `${recording}.jsonl`), 'utf8');
  const records = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => recordSchema.parse(JSON.parse(line)));
  return records.flatMap((record, index): Step[] => {
    const { n, t: atSeconds } = record;
    if ('cmd' in record) {
      const { cmd: line, rc: exitCode, stdout, stderr } = record;
      return [{ recording, n, atSeconds, line, exitCode, stdout, stderr, waits: false }];
    }
    const next = records[index + 1];
    if (!('poll' in record) || (next && 'poll' in next && next.poll === record.poll)) return [];
    const stdout = record.rc === 0 ? `${JSON.stringify(record.status)}\n` : '';
    return [
      { recording, n, atSeconds, line: record.poll, exitCode: record.rc, stdout, stderr: record.stderr, waits: true },
    ];
  });
}
