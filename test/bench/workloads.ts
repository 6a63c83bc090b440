import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openAudience } from './audience.ts'
import type { Place } from './contenders.ts'
import { askAtRate, askInARow } from './h2load.ts'
import { addedByIdleConnections } from './idle-connections.ts'
import type { Measures } from './metrics.ts'
import { cpuTimeOf, ownCpuTimeOf } from './process-usage.ts'
import type { Running } from './running.ts'
import { type Asked, SERVED, SERVED_NAMES, type ServedName } from './served.ts'
import { wrk } from './wrk.ts'

/** How long and how often is measured. */
export interface Effort {
  /** Seconds under load before each measurement. */
  readonly warmUp: number
  /** Seconds of each measurement that is limited by time. */
  readonly seconds: number
  readonly rounds: number
  /** Requests a second at which latency is measured: the same for all. */
  readonly rate: number
}

/** Something that is asked of contenders, and how it is measured. */
export interface Workload {
  readonly title: string
  /** @throws Error if the answer is not the right one. */
  check(running: Running): Promise<unknown>
  measure(running: Running, effort: Effort, place: Place): Promise<Measures>
}

const MIB = 1024 * 1024
const LARGE = 100 * MIB
const IN_A_ROW = 5
const IDLE_CONNECTIONS = 10_000
/** Bytes of a message to many, and milliseconds between two. */
const MESSAGE_SIZE = 100
const PAUSE = 200
/** Characters of an answer that an error shows. */
const EXCERPT = 200
const ECHO = JSON.stringify({
  list: Array.from({ length: 9 }, (_, n) => ({ n, text: 'x'.repeat(92) })),
  end: 'x'.repeat(15),
})

const HELLO: Asked = { title: 'Hono hello', request: { path: '/' }, body: 'Hello World' }
/** Of the time that the small answers are measured: there are many of these. */
const SHARE_OF_SERVED = 0.5

/** What is measured, by the names that goals call it. */
export const WORKLOADS = {
  hello: peak(HELLO),
  echo: peak({
    title: `JSON POST, ${ECHO.length} bytes echoed`,
    request: { path: '/echo', method: 'POST', headers: { 'content-type': 'application/json' }, body: ECHO },
    body: ECHO,
  }),
  headers: peak({
    title: 'A page with 20 response headers',
    request: { path: '/headers' },
    body: 'A page of 20 headers',
    fields: Object.fromEntries(
      Array.from({ length: 19 }, (_, n) => [`x-header-${n + 1}`, `the value of header ${n + 1}`]),
    ),
  }),
  busy: peak({
    title: 'A handler with about 1 ms of computation',
    request: { path: '/busy' },
    body: '366300225',
  }),
  ...(Object.fromEntries(SERVED_NAMES.map((name) => [name, peak(SERVED[name], SHARE_OF_SERVED)])) as Record<
    ServedName,
    Workload
  >),
  latency: {
    title: 'Latency at one rate for all, half of the peak of nginx → @hono/node-server',
    check: (running) => expectAnswer(running, HELLO),
    async measure(running, { warmUp, seconds, rate }, { directory }) {
      await wrk(running.origin, HELLO.request, warmUp)
      const before = usage(running)
      const { requests, p50, p99 } = await askAtRate(`${running.origin}/`, rate, seconds, directory)
      return { p50, p99, ...perRequest(before, usage(running), requests) }
    },
  },
  download: {
    title: 'A streamed response of 100 MiB',
    async check({ origin }) {
      const response = await fetch(`${origin}/download`)
      const expected = createHash('sha256').update(Buffer.alloc(LARGE, 'mongrel2')).digest('hex')
      const hash = createHash('sha256')
      for await (const chunk of response.body ?? []) hash.update(chunk)
      expectEqual('the SHA-256', hash.digest('hex'), expected)
    },
    measure: (running) => measureLarge(running, `${running.origin}/download`),
  },
  upload: {
    title: 'An upload of 100 MiB',
    async check({ origin }) {
      const response = await fetch(`${origin}/upload`, { method: 'POST', body: Buffer.alloc(LARGE) })
      expectEqual('the size', await response.text(), String(LARGE))
    },
    async measure(running, _effort, { directory }) {
      const body = join(directory, 'upload')
      await writeFile(body, Buffer.alloc(LARGE, 'mongrel2'))
      return await measureLarge(running, `${running.origin}/upload`, body)
    },
  },
  fanout: fanOut(5000, 10, 25),
  smallFanout: fanOut(300, 5, 10),
  idle: {
    title: `${IDLE_CONNECTIONS.toLocaleString('en')} idle connections`,
    check: (running) => expectAnswer(running, HELLO),
    async measure(running, { warmUp }) {
      await wrk(running.origin, HELLO.request, warmUp)
      return { memory: (await addedByIdleConnections(running, IDLE_CONNECTIONS)) / MIB }
    },
  },
} satisfies Record<string, Workload>

export type WorkloadName = keyof typeof WORKLOADS

/** Workloads of a quick run, which are measured in one go. */
export const QUICK_GROUP: readonly WorkloadName[] = ['hello', 'echo', 'headers', 'smallFanout']

/** Workloads that are measured in one go, with the same processes; each group waits for the one before it. */
export const GROUPS: readonly (readonly WorkloadName[])[] = [
  ['hello', 'echo', 'headers'],
  ['busy'],
  SERVED_NAMES,
  ['latency'],
  ['download', 'upload'],
  ['fanout'],
  ['idle'],
]

/**
 * Answers a second, as fast as they come.
 *
 * @param share Of the seconds of a measurement.
 */
function peak(asked: Asked, share = 1): Workload {
  const { title, request } = asked
  return {
    title,
    check: (running) => expectAnswer(running, asked),
    async measure(running, { warmUp, seconds }) {
      await wrk(running.origin, request, warmUp)
      const before = usage(running)
      const totals = await wrk(running.origin, request, seconds * share)
      return { rate: totals.requests / totals.seconds, ...perRequest(before, usage(running), totals.requests) }
    },
  }
}

async function measureLarge(running: Running, url: string, body?: string): Promise<Measures> {
  await askInARow(url, 1, body)
  const before = usage(running)
  const seconds = await askInARow(url, IN_A_ROW, body)
  return { throughput: (IN_A_ROW * LARGE) / MIB / seconds, ...perRequest(before, usage(running), IN_A_ROW) }
}

/**
 * @param audience Clients.
 * @param first Messages before anything is counted.
 * @param messages Those that are.
 */
function fanOut(audience: number, first: number, messages: number): Workload {
  return {
    title: `A message of ${MESSAGE_SIZE} bytes to ${audience.toLocaleString('en')} WebSockets`,
    check: (running) => expectAnswer(running, { ...HELLO, body: '0' }),
    measure: (running) => measureFanOut(running, audience, first, messages),
  }
}

async function measureFanOut(running: Running, audience: number, first: number, messages: number): Promise<Measures> {
  await using clients = await openAudience(running, audience)
  await expectAnswer(running, { ...HELLO, body: String(audience) })
  let waited = 0
  const send = async (count: number) => {
    for (let n = 0; n < count; n++) {
      const text = `${n} of ${count} `.padEnd(MESSAGE_SIZE, '.')
      const path = `/send?text=${encodeURIComponent(text)}`
      const begun = performance.now()
      await clients.hear(text, () => expectAnswer(running, { request: { path }, body: String(audience) }))
      waited += performance.now() - begun
      await sleep(PAUSE)
    }
  }
  await send(first)
  waited = 0
  const before = usage(running)
  await send(messages)
  const { cpu = 0, frontCpu } = perRequest(before, usage(running), messages)
  const measures = { messageCpu: cpu / 1000, heard: waited / messages }
  return frontCpu === undefined ? measures : { ...measures, messageFrontCpu: frontCpu / 1000 }
}

interface Usage {
  readonly handler: number
  /** Of that the process that was started, without its workers. */
  readonly alone: number
  readonly front: number | undefined
}

function usage({ handler, front }: Running): Usage {
  return { handler: cpuTimeOf(handler.pid), alone: ownCpuTimeOf(handler.pid), front: front && cpuTimeOf(front.pid) }
}

function perRequest(before: Usage, after: Usage, requests: number): Measures {
  const cpu = (after.handler - before.handler) / requests
  const dispatcherCpu = after.handler > after.alone ? (after.alone - before.alone) / requests : undefined
  return {
    cpu,
    ...(dispatcherCpu !== undefined && { dispatcherCpu }),
    ...(before.front !== undefined &&
      after.front !== undefined && { frontCpu: (after.front - before.front) / requests }),
  }
}

async function expectAnswer({ origin }: Running, { request, body, fields = {} }: Omit<Asked, 'title'>): Promise<void> {
  const { path, ...init } = request
  const response = await fetch(origin + path, init)
  expectEqual('the status', response.status, 200)
  for (const [name, value] of Object.entries(fields)) expectEqual(name, response.headers.get(name), value)
  expectEqual('the body', await response.text(), body)
}

function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`expected ${excerpt(expected)} as ${what}, got ${excerpt(actual)}`)
}

function excerpt(value: unknown): string {
  const text = String(value)
  return text.length <= EXCERPT ? text : `${text.slice(0, EXCERPT)}… (${text.length} characters)`
}
