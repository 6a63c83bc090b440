import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { traceRequests } from '../../examples/tracing/trace-requests.ts'
import type { FetchHandler, LinkEvent, Mongrel2Server, WorkerEvent } from '../../src/index.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { createReplier } from '../support/replier.ts'
import { serveMongrel2 } from '../support/serve.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const CALLER = 'b7ad6b7169203331'
const TRACEPARENT = `traceparent: 00-${TRACE}-${CALLER}-01\r\n`

const spans = new InMemorySpanExporter()
const tracer = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }).getTracer('test')
let mongrel2: Mongrel2
let server: Mongrel2Server | undefined

beforeAll(() => {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  traceRequests(tracer)
})

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  spans.reset()
})

afterEach(async () => {
  await server?.close()
  server = undefined
  await mongrel2.stop()
})

async function serve(handler: FetchHandler): Promise<RawClient> {
  server = serveMongrel2(handler, { zeromq: mongrel2.endpoint, logger: {} })
  await server.ready
  return new RawClient(mongrel2.port)
}

/** Resolves with the name, the parent and the status of each span, the parents by their names, when so many have ended. */
async function ended(count: number): Promise<(string | number | undefined)[][]> {
  await expect.poll(() => spans.getFinishedSpans().length).toBe(count)
  const all = spans.getFinishedSpans()
  expect(all.map((span) => span.spanContext().traceId)).toEqual(all.map(() => TRACE))
  const nameOf = (id = '') => all.find((span) => span.spanContext().spanId === id)?.name ?? id
  return all
    .map(({ name, parentSpanContext, attributes }) => [
      name,
      nameOf(parentSpanContext?.spanId),
      attributes['http.response.status_code'] as number | undefined,
    ])
    .sort()
}

/** What a handler does in a span of its own. */
function inside(name: string): void {
  tracer.startSpan(name, {}, context.active()).end()
}

it('a request has a span, which is the parent of those in its handler and its stream', async () => {
  using client = await serve(async () => {
    inside('before')
    await sleep(1)
    inside('after')
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await sleep(1)
          inside('stream')
          controller.enqueue(Buffer.from('streamed'))
          controller.close()
        },
      }),
    )
  })
  client.send(request('/', 'GET', TRACEPARENT))
  expect((await client.response()).body.toString()).toBe('streamed')
  const children = ['after', 'before', 'stream'].map((name) => [name, 'GET', undefined])
  expect(await ended(4)).toEqual([['GET', CALLER, 200], ...children])
})

it('requests that are handled together keep their spans apart', async () => {
  using client = await serve(async (request) => {
    await sleep(Math.random() * 5)
    return new Response(`${trace.getActiveSpan()?.spanContext().traceId} ${new URL(request.url).pathname}`)
  })
  const ids = Array.from({ length: 20 }, (_, number) => String(number + 1).padStart(32, '0'))
  client.send(ids.map((id, at) => request(`/${at}`, 'GET', `traceparent: 00-${id}-${CALLER}-01\r\n`)).join(''))
  for (const [at, id] of ids.entries()) expect((await client.response()).body.toString()).toBe(`${id} /${at}`)
})

it('a deferred request has its span until it is answered, also as the parent of the work elsewhere', async () => {
  const replier = createReplier({ zeromq: mongrel2.endpoint, logger: {} })
  using client = await serve(async (_request, env) => {
    const { token, response } = await env.mongrel2.defer()
    const carrier: Record<string, string> = {}
    propagation.inject(context.active(), carrier)
    void context.with(ROOT_CONTEXT, async () => {
      const span = tracer.startSpan('work', {}, propagation.extract(ROOT_CONTEXT, carrier))
      await sleep(20)
      expect(spans.getFinishedSpans()).toEqual([])
      await replier.reply(token, new Response('done'))
      span.end()
    })
    return response
  })
  client.send(request('/', 'GET', TRACEPARENT))
  expect((await client.response()).body.toString()).toBe('done')
  expect(await ended(2)).toEqual([
    ['GET', CALLER, undefined],
    ['work', 'GET', undefined],
  ])
  await replier.close()
})

it('an error of the handler is an exception of the span', async () => {
  using client = await serve(() => {
    throw new Error('as the test wants')
  })
  client.send(request('/', 'GET', TRACEPARENT))
  expect((await client.response()).status).toBe(500)
  expect(await ended(1)).toEqual([['GET', CALLER, 500]])
  const [{ events = [] } = {}] = spans.getFinishedSpans()
  expect(events.map(({ attributes }) => attributes?.['exception.message'])).toEqual(['as the test wants'])
})

it('workers and links are told of by channels', async () => {
  const events: (WorkerEvent | LinkEvent)[] = []
  const take = (event: unknown) => events.push(event as WorkerEvent)
  const channels = ['mongrel2-fetch:worker', 'mongrel2-fetch:link']
  for (const name of channels) subscribe(name, take)
  const workers = serveWithWorkers({ workers: 1, options: { zeromq: mongrel2.endpoint, logger: {} } })
  await workers.ready
  await workers.reload()
  await workers.close()
  for (const name of channels) unsubscribe(name, take)
  expect(events.map(({ event }) => event).sort()).toEqual(['attached', 'ended', 'ended', 'lost', 'started', 'started'])
  const [sendSpec, recvSpec] = mongrel2.endpoint.split(',')
  expect(events.find(({ event }) => event === 'attached')).toEqual({ event: 'attached', sendSpec, recvSpec })
})
