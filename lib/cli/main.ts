// The entry of the CLI. It loads the rest only after Node's compile cache is on, which halves the time of a short command; where
// bin/farside starts it, the cache is on already. It is in the user's own directory: one that others can write to would let them
// plant code.

import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

enableCompileCache(
  join(process.env['XDG_CACHE_HOME'] || join(process.env['HOME'] || homedir(), '.cache'), 'farside', 'compiled'),
);
const { processTerminal, run } = await import('./run.ts');

// A reader that went away (`farside export … | head`) is the end, not an error to report: as if SIGPIPE had done it.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1));
process.exitCode = await run(process.argv.slice(2), processTerminal());
