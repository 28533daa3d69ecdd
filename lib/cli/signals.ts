// Owns the wait of a foreground command for its end.

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
