// Owns watching: the same question again and again, until the user interrupts. On a terminal the answer stays in its place; elsewhere
// one follows the other. A question that fails after the first is told and asked again: watching is for when things go wrong.

import type { Terminal } from '../sites/context.ts';
import { describeFailure } from './failure.ts';
import { oneLine } from './text-table.ts';

export const watchSecondsDefault = 2;

export type Watched = { every: number; title: string; ask: () => Promise<string> };

/** Ends only by the failure of the first question. */
export async function watch(terminal: Terminal, { every, title, ask }: Watched): Promise<never> {
  const show = terminal.stdout.isTTY === true ? await inPlace(terminal, every, title) : oneAfterAnother(terminal);
  show(await ask());
  for (;;) {
    await terminal.clock.sleep(every * 1000);
    show(await ask().catch((error: unknown) => describeFailure(error).text));
  }
}

async function inPlace(terminal: Terminal, every: number, title: string): Promise<(text: string) => void> {
  // On demand: other commands need not load it.
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(terminal.stdout as NodeJS.WriteStream, { showCursor: true });
  return (text) => {
    const time = new Date(terminal.clock.nowMs()).toTimeString().slice(0, 8);
    update(`every ${every} s: ${oneLine(title)}  ${time}\n\n${text.trimEnd()}\n`);
  };
}

const oneAfterAnother =
  (terminal: Terminal): ((text: string) => void) =>
  (text) =>
    void terminal.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
