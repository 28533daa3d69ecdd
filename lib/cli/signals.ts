// Owns the wait of a foreground command for its end, and its last words when it is not waited for.

const ends = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Of the process, once: the next such signal ends it as if nobody waited. */
export function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const ended = (signal: NodeJS.Signals): void => {
      for (const one of ends) process.off(one, ended);
      resolve(signal);
    };
    for (const one of ends) process.on(one, ended);
  });
}

/** The next such signal asks the process to end. Another one ends it at once, as a crash would, with `lastWords` on stderr. */
export async function nextSignals(lastWords: () => string): Promise<NodeJS.Signals> {
  const first = await nextSignal();
  void nextSignal().then((second) => {
    process.stderr.write(`${lastWords()}\n`);
    process.kill(process.pid, second);
  });
  return first;
}
