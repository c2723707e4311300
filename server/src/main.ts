#!/usr/bin/env node
import { enableCompileCache } from 'node:module';

// Compiling and type-stripping is most of a start: from the second one on it is read from the system's temporary folder.
enableCompileCache();

// A reader that has seen enough (`carillon … | head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const { runCommand } = await import('./cli/program.ts');
const exitCode = await runCommand(process.argv.slice(2));
// Not left to the event loop: a library's idle connection must not keep a finished command alive.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
