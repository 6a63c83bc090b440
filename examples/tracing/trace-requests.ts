// Makes a span of OpenTelemetry for each request, by the channels that mongrel2-fetch publishes. Copy it into your project.

import { AsyncLocalStorage } from 'node:async_hooks'
import { channel, subscribe, tracingChannel } from 'node:diagnostics_channel'
import {
  type Context,
  type ContextManager,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { RequestTrace } from 'mongrel2-fetch'

const storage = new AsyncLocalStorage<Context>()

/** The active span of each asynchronous call. */
const contexts: ContextManager = {
  active: () => storage.getStore() ?? ROOT_CONTEXT,
  with: (active, call, thisArg, ...args) => storage.run(active, () => Reflect.apply(call, thisArg, args)),
  bind: (active, target) =>
    typeof target === 'function'
      ? (((...args: unknown[]) => storage.run(active, () => target(...args))) as typeof target)
      : target,
  enable: () => contexts,
  disable: () => contexts,
}

/** Begins a span at each request of mongrel2-fetch: a child of the caller's, if the request has a `traceparent`. */
export function traceRequests(tracer: Tracer): void {
  context.setGlobalContextManager(contexts)
  const spans = new WeakMap<object, Span>()
  const requests = tracingChannel<Context, RequestTrace>('mongrel2-fetch:request')
  // The handler, and all that it calls and waits for, has the span as its active one.
  requests.start.bindStore(storage, (message) => {
    const { request } = message
    const caller = propagation.extract(ROOT_CONTEXT, Object.fromEntries(request.headers))
    const attributes = { 'http.request.method': request.method, 'url.full': request.url }
    const span = tracer.startSpan(request.method, { kind: SpanKind.SERVER, attributes }, caller)
    spans.set(message, span)
    return trace.setSpan(caller, span)
  })
  requests.error.subscribe((message) => {
    spans.get(message as object)?.recordException((message as RequestTrace).error as Error)
  })
  // The response is published in full, or was given up; a deferred one is answered.
  subscribe(channel('mongrel2-fetch:request:end').name, (message) => {
    const { entry } = message as RequestTrace
    const span = spans.get(message as object)
    if (span === undefined || entry === undefined) return
    if (entry.status !== undefined) span.setAttribute('http.response.status_code', entry.status)
    if (entry.aborted || (entry.status ?? 0) >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  })
}
