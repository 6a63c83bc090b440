import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { BrokenResponseError, RawClient, type RawHead, type RawResponse } from '../../support/raw-client.ts'
import type { Conversation } from './conversation.ts'

/** What a client sees, as flat values that can be compared one by one. */
export type Observation = Record<string, string>

/** How long a response may take before the client gives up, in milliseconds; with FULL, programs may run on the way. */
const PATIENCE = process.env.FULL === '1' ? 60_000 : 5000
const PROBE = 'GET /probe HTTP/1.1\r\nHost: localhost\r\n\r\n'
/** They speak of the connection, which is looked at itself. */
const NOT_COMPARED = new Set(['connection', 'keep-alive', 'transfer-encoding'])
/** Longer bodies are shown by their size and hash. */
const SHOWN = 4096

/** Has a conversation with the server at a port, and looks whether the connection is good for another request afterwards. */
export async function observe(port: number, { send, methods }: Conversation): Promise<Observation> {
  using client = new RawClient(port)
  client.send(send)
  const observation: Observation = {}
  for (const [index, method] of methods.entries()) {
    const prefix = methods.length > 1 ? `${index + 1}: ` : ''
    const response = await observeResponse(client, method)
    for (const [name, value] of Object.entries(response)) observation[prefix + name] = value
    if (response.ending !== 'complete') return observation
  }
  return { ...observation, afterwards: await observeConnection(client) }
}

/** The values in which two observations differ. */
export function differences(ours: Observation, theirs: Observation): { ours: Observation; theirs: Observation } {
  const names = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].filter(
    (name) => ours[name] !== theirs[name],
  )
  const only = (observation: Observation) =>
    Object.fromEntries(names.map((name) => [name, observation[name] ?? 'nothing']))
  return { ours: only(ours), theirs: only(theirs) }
}

async function observeResponse(client: RawClient, method: string): Promise<Observation> {
  const interim: Observation = {}
  try {
    for (;;) {
      const response = await patiently(client.response(method))
      if (response.status >= 200) return { ...interim, ...observeWhole(response), ending: 'complete' }
      interim.interim = response.statusLine
    }
  } catch (error) {
    if (!(error instanceof BrokenResponseError)) throw error
    const head = error.head === undefined ? {} : observeHead(error.head)
    return { ...interim, ...head, body: showBody(error.body), ending: error.message }
  }
}

function observeWhole(response: RawResponse): Observation {
  const head = observeHead(response)
  const body = head['content-encoding'] === 'gzip' ? gunzipSync(response.body) : response.body
  return { ...head, body: showBody(body) }
}

function observeHead({ statusLine, headers }: RawHead): Observation {
  const observation: Observation = { status: statusLine }
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (NOT_COMPARED.has(lower)) continue
    const shown = lower === 'date' && isNow(value) ? 'now' : withoutBoundary(value)
    const before = observation[lower]
    observation[lower] = before === undefined ? shown : `${before} | ${shown}`
  }
  return observation
}

function isNow(date: string): boolean {
  return Math.abs(Date.parse(date) - Date.now()) < 10_000 && new Date(date).toUTCString() === date
}

/** The platform makes a new one for each form, of a constant length. */
function withoutBoundary(text: string): string {
  return text.replaceAll(/formdata-undici-\d+/g, 'formdata-undici-N')
}

function showBody(body: Buffer): string {
  if (body.length <= SHOWN) return withoutBoundary(body.toString('latin1'))
  return `${body.length} bytes, SHA-256 ${createHash('sha256').update(body).digest('hex')}`
}

/** Whether the connection takes another request. */
async function observeConnection(client: RawClient): Promise<string> {
  client.send(PROBE)
  try {
    const { statusLine, body } = await patiently(client.response())
    return body.toString() === 'probe' ? 'open' : `out of step: ${statusLine}`
  } catch (error) {
    if (!(error instanceof BrokenResponseError)) throw error
    return client.ended ? 'closed' : `out of step: ${error.message}`
  }
}

async function patiently<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no response within ${PATIENCE} ms`)), PATIENCE)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
