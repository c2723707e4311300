/**
 * The command line: `carillon <command>`. What only one command needs is loaded by that command: with everything loaded
 * `--help` took 0.8 s, so it takes 0.14 s.
 */
import { Command, CommanderError } from 'commander';
import { flagOf, loadConfig, OPTION_NAMES, OPTIONS } from '../config.ts';
import type { Config, Option } from '../config.ts';
import { StoreUnavailable } from '../core/ports.ts';
import { FolderInUse } from '../store/sqlite/folder.ts';
import { addBackupCommands } from './backup.ts';
import { addListenCommand } from './listen.ts';
import { addMessageCommands } from './messages.ts';
import { addMigrateCommand } from './migrate.ts';
import { CommandFailed, EXIT, say } from './output.ts';

const VERSION = '0.1.0';

const EXIT_CODES = `
Exit codes: 0 done, 1 failed (one sentence on stderr says why), 2 wrong use.`;

type Flags = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

/** The options of the server, from their table. */
function addServerOptions(command: Command): Command {
  const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];
  for (const name of OPTION_NAMES) {
    const { placeholder, description, defaultText, isRepeatable }: Option<unknown> = OPTIONS[name];
    const flags = placeholder === null ? flagOf(name) : `${flagOf(name)} <${placeholder}>`;
    const text = `${description} (default: ${defaultText})`;
    if (isRepeatable === true) command.option(flags, text, collect);
    else command.option(flags, text);
  }
  return command;
}

/** Throws with every fault, one a line. */
function readConfig(flags: Flags): { config: Config; warnings: readonly string[] } {
  const result = loadConfig(flags, process.env);
  if (result.ok) return result;
  throw new CommandFailed(result.faults.join('\n'), EXIT.usage);
}

function makeProgram(finish: (exitCode: number) => void): Command {
  const program = new Command('carillon')
    .description('An outbound messaging server: one call in, messages on devices, signed receipts out.')
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError('(--help says more)')
    .addHelpText('after', EXIT_CODES);
  addServerOptions(program.command('serve').description('run the server'))
    .addHelpText('after', '\nEach option can also be given as CARILLON_<NAME>; see docs/config.md.')
    .action(async (flags: Flags) => {
      const { config, warnings } = readConfig(flags);
      const { serve } = await import('./serve.ts');
      finish(await serve(config, warnings));
    });
  addServerOptions(program.command('check-config').description('say what is wrong with options; start nothing'))
    .option('--json', 'write JSON')
    .action(async (flags: Flags) => {
      const { checkConfig } = await import('./check-config.ts');
      finish(await checkConfig(loadConfig(flags, process.env), flags['json'] === true));
    });
  addMessageCommands(program, finish);
  addListenCommand(program, finish);
  addBackupCommands(program, finish);
  addMigrateCommand(program, finish);
  program
    .command('admin')
    .description('provision: on the data folder itself where no server runs, else through its API');
  return program;
}

/** What a command threw, as a sentence and an exit code; what is no expected failure is thrown again. */
function explain(error: unknown): { message: string; exitCode: number } {
  if (error instanceof CommandFailed) return error;
  if (error instanceof FolderInUse || error instanceof StoreUnavailable) {
    return { message: error.message, exitCode: EXIT.failed };
  }
  const code = (error as NodeJS.ErrnoException | null)?.code;
  // A refusal of the operating system, of SQLite or of the network: its own words say it best.
  if (error instanceof Error && code !== undefined) return { message: error.message, exitCode: EXIT.failed };
  throw error;
}

/** Runs one command. `argv` without the program's own two words. Resolves with the exit code; rejects on a bug. */
export async function runCommand(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const finish = (code: number): void => {
    exitCode = code;
  };
  const program = makeProgram(finish);
  const admin = argv.slice(0, 2).includes('admin')
    ? program.commands.find((command) => command.name() === 'admin')
    : undefined;
  if (admin !== undefined) (await import('./admin.ts')).addAdminCommands(admin, finish);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    // commander has said it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const explained = explain(error);
    say(explained.message);
    return explained.exitCode;
  }
}
