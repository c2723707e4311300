import { startApp } from '../app.ts';
import type { RunningApp } from '../app.ts';
import type { Config } from '../config.ts';
import { describeDemo, prepareDemo } from '../demo.ts';
import { within } from '../lib/deadline.ts';
import { startTicker } from '../lib/ticker.ts';
import { EXIT, print, say } from './output.ts';

/** The contract allows 10 s from the signal to the end of the process. */
const STOP_MS = 9_000;

/** How soon the end of npm is noticed. */
const PARENT_CHECK_MS = 500;

type Signal = 'SIGTERM' | 'SIGINT' | 'parent ended';

/**
 * Resolves at the first signal; a second one ends the process at once. Under `npm start` the signal goes to npm, which
 * passes it to a shell that ends without passing it on: there the end of the parent counts as the signal.
 */
function firstSignal(): Promise<Signal> {
  return new Promise((resolve) => {
    let isStopping = false;
    const parent = process.ppid;
    if (process.env['npm_lifecycle_event'] !== undefined) {
      const stopTicker = startTicker(PARENT_CHECK_MS, () => {
        if (process.ppid === parent) return;
        stopTicker();
        resolve('parent ended');
      });
    }
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        // What was accepted is on disk; nothing is lost by not waiting.
        if (isStopping) process.exit(EXIT.failed);
        isStopping = true;
        resolve(signal);
      });
    }
  });
}

/** The demo, or else how to get in: no credential exists by default. */
async function prepareEntrance(app: RunningApp, config: Config): Promise<void> {
  if (config.demo) {
    const demo = await prepareDemo(app, { folder: config.data, ...app });
    print(describeDemo(demo, config.data));
    return;
  }
  const tokens = await app.store.listObjects('token', { clientId: null, cursor: null, limit: 1 });
  if (tokens.items.length > 0) return;
  // The address of a database may hold a password, so it is not repeated.
  const place = config.database === null ? `--data ${config.data}` : '--database … (or CARILLON_DATABASE, as here)';
  print(`There is no admin token yet. Make one on this machine: carillon admin token ${place}`);
}

async function end(app: RunningApp, signal: Signal): Promise<void> {
  app.log.info('stopping', { signal });
  const ended = await within(app.stop(), STOP_MS);
  app.log.info(ended.done ? 'stopped' : 'stopped without waiting longer', {});
  app.log.flush();
}

/** Runs the server until a signal. Resolves with the exit code. */
export async function serve(config: Config, warnings: readonly string[]): Promise<number> {
  const signal = firstSignal();
  let app: RunningApp;
  try {
    app = await startApp(config);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    say(`carillon cannot start: ${explain(code, message)}`);
    return EXIT.failed;
  }
  for (const warning of warnings) app.log.warn('configuration', { warning });
  try {
    await prepareEntrance(app, config);
  } catch (error) {
    app.log.error('preparing the demo failed', { error });
    await app.stop();
    app.log.flush();
    return EXIT.failed;
  }
  print(`carillon ready http=${app.httpUrl} mqtt=${app.mqttUrl ?? 'off'}`);
  await end(app, await signal);
  return EXIT.ok;
}

function explain(code: string | undefined, message: string): string {
  if (code === 'EADDRINUSE') return `another program listens on that address (${message}).`;
  if (code === 'EACCES') return `not allowed (${message}).`;
  return message;
}
