import { ProxyTracerProvider, SpanKind, trace } from '@opentelemetry/api';
import type { Attributes, Tracer } from '@opentelemetry/api';
import type { Clock } from '../core/ports.ts';

/**
 * Spans for whoever starts the server with an OpenTelemetry SDK (`NODE_OPTIONS=--import …`); without one this is one
 * comparison per event. Spans are made after the fact, from the times the events carry.
 */
export class Spans {
  readonly #tracer: Tracer | undefined;
  readonly #clock: Pick<Clock, 'now'>;

  constructor(clock: Pick<Clock, 'now'>) {
    const provider = trace.getTracerProvider();
    this.#clock = clock;
    this.#tracer =
      provider instanceof ProxyTracerProvider ? provider.getDelegateTracer('carillon') : provider.getTracer('carillon');
  }

  /** Something that took `ms` and has just ended. */
  record(name: string, kind: 'server' | 'client' | 'internal', ms: number, attributes: () => Attributes): void {
    if (this.#tracer === undefined) return;
    const endedAt = this.#clock.now();
    const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL };
    const options = { kind: kinds[kind], startTime: endedAt - ms, attributes: attributes() };
    this.#tracer.startSpan(name, options).end(endedAt);
  }
}
