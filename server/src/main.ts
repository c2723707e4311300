#!/usr/bin/env node
import { runCommand } from './cli/program.ts';

// A reader that has seen enough (`carillon … | head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const exitCode = await runCommand(process.argv.slice(2));
// Not left to the event loop: a library's idle connection must not keep a finished command alive.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
