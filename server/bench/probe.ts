/**
 * Loaded into the processes that are measured (`node --import`): answers the bench over the channel between parent and
 * child, so that nothing has to be asked over the ports under load. Costs a timer every {@link RESOLUTION_MS}.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 10;
const NANOSECONDS_PER_MS = 1e6;
const MICROSECONDS_PER_MS = 1e3;
/** Full collections until what finalizers and weak references freed is gone too. */
const COLLECTIONS = 2;

/** `reset` begins a new count of the event loop's delay (and a profile, which `read` ends); `collect` collects garbage first (needs --expose-gc). */
export type ProbeQuestion = 'reset' | 'read' | 'collect';

export interface ProbeAnswer {
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** User and system time of the process since its start. */
  readonly cpuMs: number;
  /** How late a timer came since the last `reset`. */
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
}

/** Where a CPU profile of the time between `reset` and `read` goes; absent: none is taken. */
const profileFolder = process.env['BENCH_PROFILE_FOLDER'];
const profiler = profileFolder === undefined ? null : new Session();
let isProfiling = false;
profiler?.connect();
profiler?.post('Profiler.enable');

function startProfile(): void {
  if (profiler === null || isProfiling) return;
  profiler.post('Profiler.start');
  isProfiling = true;
}

function stopProfile(): void {
  if (profiler === null || profileFolder === undefined || !isProfiling) return;
  isProfiling = false;
  profiler.post('Profiler.stop', (error, { profile }) => {
    if (error !== null) throw error;
    mkdirSync(profileFolder, { recursive: true });
    writeFileSync(path.join(profileFolder, `${process.pid}-${Date.now()}.cpuprofile`), JSON.stringify(profile));
  });
}

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();

/** The histogram counts from one timer to the next: the timer's own period is no delay. */
function delayMs(nanoseconds: number): number {
  return Math.max(0, nanoseconds / NANOSECONDS_PER_MS - RESOLUTION_MS);
}

function read(): ProbeAnswer {
  const memory = process.memoryUsage();
  const cpu = process.cpuUsage();
  return {
    rssBytes: memory.rss,
    heapBytes: memory.heapUsed,
    cpuMs: (cpu.user + cpu.system) / MICROSECONDS_PER_MS,
    delayP50Ms: delayMs(delay.percentile(50)),
    delayP99Ms: delayMs(delay.percentile(99)),
    delayMaxMs: delay.max === 0 ? 0 : delayMs(delay.max),
  };
}

function collect(left: number): void {
  (globalThis as { gc?: () => void }).gc?.();
  if (left > 1) setImmediate(() => collect(left - 1));
  else process.send?.(read());
}

process.on('message', (question: ProbeQuestion) => {
  if (question === 'collect') return collect(COLLECTIONS);
  if (question === 'reset') {
    startProfile();
    delay.reset();
  }
  process.send?.(read());
  if (question === 'read') stopProfile();
});
// The bench is gone: nobody is left to end this process.
process.on('disconnect', () => process.exit(1));
process.channel?.unref();
