import pino from 'pino';
import type { DestinationStream, Logger as PinoLogger } from 'pino';
import type { Clock } from '../core/ports.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFields = Readonly<Record<string, unknown>>;

/** Lines of one event in one second; what is beyond is counted and told in one line. */
const LINES_PER_SECOND_MAX = 100;
/** A reader of stderr that is stuck costs lines, never memory. */
const BUFFER_BYTES_MAX = 1_048_576;
/** Kinds of event whose lines are counted apart; the events have a handful of names. */
const EVENTS_MAX = 256;
const SECOND_MS = 1_000;
const STDERR = 2;

/** JSON escapes the control characters below space; these would still drive a terminal or turn text around. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const UNSAFE = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

const escapeUnsafe = (line: string): string =>
  line.replaceAll(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

interface Window {
  startedAt: number;
  lines: number;
  dropped: number;
}

/**
 * The log: one JSON object a line, `event` naming what happened. It is bounded in rate, so that a flood of refused requests
 * fills no disk: what is dropped is counted in the next line of that event (`dropped`).
 * Nothing here knows message text or secrets, since no event carries them.
 */
export class Log {
  readonly #pino: PinoLogger;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #flush: () => void;
  readonly #windows = new Map<string, Window>();

  constructor(options: { level: LogLevel; clock: Pick<Clock, 'monotonic'>; destination?: DestinationStream }) {
    const stderr =
      options.destination === undefined
        ? pino.destination({ fd: STDERR, sync: false, maxLength: BUFFER_BYTES_MAX })
        : null;
    this.#clock = options.clock;
    this.#flush = () => stderr?.flushSync();
    this.#pino = pino(
      {
        level: options.level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        messageKey: 'event',
        errorKey: 'error',
        serializers: { error: pino.stdSerializers.err },
        hooks: { streamWrite: escapeUnsafe },
      },
      options.destination ?? stderr ?? pino.destination(STDERR),
    );
  }

  debug(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('debug')) this.#write('debug', event, fields);
  }

  info(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('info')) this.#write('info', event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.#write('warn', event, fields);
  }

  error(event: string, fields: LogFields = {}): void {
    this.#write('error', event, fields);
  }

  /** Writes out what is buffered; for the end of the process. */
  flush(): void {
    this.#flush();
  }

  #write(level: 'debug' | 'info' | 'warn' | 'error', event: string, fields: LogFields): void {
    const dropped = this.#admit(event);
    if (dropped === null) return;
    this.#pino[level](dropped === 0 ? fields : { ...fields, dropped }, event);
  }

  /** How many lines were dropped since the last one of this event; null: drop this one too. */
  #admit(event: string): number | null {
    const now = this.#clock.monotonic();
    let window = this.#windows.get(event);
    if (window === undefined) {
      if (this.#windows.size >= EVENTS_MAX) this.#windows.clear();
      window = { startedAt: now, lines: 0, dropped: 0 };
      this.#windows.set(event, window);
    }
    if (now - window.startedAt >= SECOND_MS) {
      window.startedAt = now;
      window.lines = 0;
    }
    if (window.lines >= LINES_PER_SECOND_MAX) {
      window.dropped += 1;
      return null;
    }
    window.lines += 1;
    const { dropped } = window;
    window.dropped = 0;
    return dropped;
  }
}
