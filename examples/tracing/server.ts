// A span of OpenTelemetry for each request, printed to the terminal; also for one that is answered later, by a token.
// Start: npm start -- tracing. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/tracing/server.ts
// Look at: curl -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' http://127.0.0.1:6767/later

import { setTimeout as sleep } from 'node:timers/promises'
import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, ConsoleSpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { createReplier, serveMongrel2 } from 'mongrel2-fetch'
import { traceRequests } from './trace-requests.ts'

// In production: an exporter of OTLP, and a processor that sends spans in batches.
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new ConsoleSpanExporter())] }),
)
propagation.setGlobalPropagator(new W3CTraceContextPropagator())
const tracer = trace.getTracer('example')
traceRequests(tracer)

const zeromq = process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998'
const replier = createReplier({ zeromq })

const server = serveMongrel2(
  async (request, env) => {
    if (new URL(request.url).pathname !== '/later') return new Response('Hello\n')
    const { token, response } = await env.mongrel2.defer()
    // What travels with the job, to another process perhaps, so that its spans have the request's as their parent.
    const carrier: Record<string, string> = {}
    propagation.inject(context.active(), carrier)
    void work({ token, carrier })
    return response
  },
  { zeromq, chroot: process.env.CHROOT ?? '.' },
)

async function work({ token, carrier }: { token: string; carrier: Record<string, string> }): Promise<void> {
  const span = tracer.startSpan('work', {}, propagation.extract(ROOT_CONTEXT, carrier))
  await sleep(100)
  await replier.reply(token, new Response('Done\n'))
  span.end()
}

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    await server.close()
    await replier.close()
  })
}
