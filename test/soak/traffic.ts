import { DELIVER_OUTSTANDING_MSGS } from '../../src/wire/limits.ts'
import { contentOf, digestOf, type Expected, expectContent, expectText } from './content.ts'
import type { FrontSetup } from './front.ts'

/** A request that will be sent, and what has to come back. */
export interface PlannedRequest {
  readonly name: string
  /** What goes over the wire: the head, then the body in the pieces in which it is written. */
  readonly head: string
  readonly pieces: readonly Uint8Array[]
  /** Milliseconds between two pieces. */
  readonly pause: number
  /** Bytes of its body. */
  readonly size: number
  /** Whether Mongrel2 has to store it, where it stores bodies. */
  readonly stored: boolean
  readonly expected: Expected
  /** Whether nothing more can be asked on its connection. */
  readonly last: boolean
}

/** Where the client leaves before it has the answer. */
export type Abort = 'head' | 'body' | 'wait' | 'answer'

/** What a client does next on its connection. */
export interface Plan {
  /** Sent at once; the answers come in this order. */
  readonly requests: readonly PlannedRequest[]
  readonly abort?: Abort
  /** Bytes a second that it reads. */
  readonly rate?: number
}

const KIB = 1024
const MIB = 1024 * KIB
/** Bodies over it Mongrel2 stores or streams (`limits.content_length`). */
const LARGE = 20 * KIB
/**
 * What a client leaves in the middle of is no larger. Of more, some would wait in Mongrel2 for its socket, and when the client leaves then and the next
 * connection gets the number of its socket, Mongrel2 1.12 sends that the rest.
 */
const LARGEST_LEFT = MIB
/** A chunk of a request's body over it ends the connection. */
const LARGEST_CHUNK = 100 * KIB
/** More than `maxPipelined`, so that some have to wait. */
const MOST_PIPELINED = 40
/** Answers that may wait in Mongrel2 for a connection without flow control, less the one that closes it. */
const MOST_PLACES = DELIVER_OUTSTANDING_MSGS - 1

/** Kinds of traffic by how often they come, in parts of a hundred. */
const MIX: readonly (readonly [share: number, make: (setup: FrontSetup) => Plan])[] = [
  [34, () => ({ requests: [small()] })],
  [12, pipelined],
  [10, () => ({ requests: [stream(random(64 * KIB, 4 * MIB), random(KIB, 256 * KIB))] })],
  [6, () => ({ requests: [trickle()] })],
  [3, () => ({ requests: [stream(random(4 * MIB, 12 * MIB), 64 * KIB)], rate: 4 * MIB })],
  [14, () => ({ requests: [upload()] })],
  [6, () => ({ requests: [echo(random(1, MIB))] })],
  [3, () => ({ requests: [unread()] })],
  [3, () => ({ requests: [small()], abort: 'head' })],
  [3, () => ({ requests: [upload(random(LARGE, MIB))], abort: 'body' })],
  [2, () => ({ requests: [get('wait', '/wait', expectText(''))], abort: 'wait' })],
  [
    4,
    () => ({
      requests: [stream(random(64 * KIB, LARGEST_LEFT), 16 * KIB)],
      abort: 'answer',
      rate: random(MIB, 64 * MIB),
    }),
  ],
]

export function nextPlan(setup: FrontSetup): Plan {
  let at = random(0, 99)
  for (const [share, make] of MIX) {
    if (at < share) return make(setup)
    at -= share
  }
  throw new Error('expected the shares of the mix to make a hundred')
}

export function random(least: number, most: number): number {
  return least + Math.floor(Math.random() * (most - least + 1))
}

function small(): PlannedRequest {
  const [seed, size] = [newSeed(), random(0, 16 * KIB)]
  return get('small answer', `/content?seed=${seed}&size=${size}`, expectContent(seed, size))
}

function stream(size: number, chunk: number, pause = 0): PlannedRequest {
  const seed = newSeed()
  const path = `/stream?seed=${seed}&size=${size}&chunk=${chunk}&pause=${pause}`
  return get('stream', path, expectContent(seed, size))
}

function trickle(): PlannedRequest {
  return stream(random(20, 60) * 100, 100, random(10, 50))
}

function upload(size = Math.random() < 0.3 ? random(1, LARGE) : random(LARGE, 2 * MIB)): PlannedRequest {
  const seed = newSeed()
  const pause = Math.random() < 0.3 ? random(1, 20) : 0
  return post('upload', `/digest?pause=${pause}`, seed, size, expectText(digestOf(seed, size)))
}

function echo(size: number): PlannedRequest {
  const seed = newSeed()
  return post('echo', '/echo', seed, size, expectContent(seed, size))
}

/** Its handler answers without reading the body. */
function unread(): PlannedRequest {
  const [seed, size] = [newSeed(), random(0, MIB)]
  const path = `/content?seed=${seed}&size=${size}`
  return { ...post('unread upload', path, newSeed(), random(1, 3 * MIB), expectContent(seed, size)), last: true }
}

/**
 * Many at once, with a large body among them now and then. Nothing follows a body that Mongrel2 stores: what it reads together with
 * the end of one goes into the file, and what is left of the next request it answers with a 400 of its own, ahead of all others.
 *
 * Only with credits are they more than Mongrel2 has places for, and does the connection go on: see the README for what becomes of others.
 */
function pipelined({ uploads, pacing }: FrontSetup): Plan {
  if (pacing !== 'credits') return pipelinedSmall()
  const requests: PlannedRequest[] = []
  for (let left = random(2, MOST_PIPELINED); left > 0; left--) {
    const request = oneOfMany()
    requests.push(request)
    if (request.last || (request.stored && uploads === 'file')) break
  }
  return { requests }
}

/** No more than there are places for the answers, on a connection that is left behind them. */
function pipelinedSmall(): Plan {
  const requests = Array.from({ length: random(1, MOST_PLACES - 1) }, () =>
    random(0, 9) === 0 ? echo(random(1, KIB)) : small(),
  )
  const chunked = requests.findIndex(({ last }) => last)
  return { requests: chunked === -1 ? [...requests, { ...small(), last: true }] : requests.slice(0, chunked + 1) }
}

function oneOfMany(): PlannedRequest {
  const kind = random(0, 99)
  if (kind < 2) return upload(random(LARGE, 256 * KIB))
  if (kind < 10) return echo(random(1, KIB))
  return kind < 20 ? stream(random(1, 256 * KIB), random(100, 64 * KIB)) : small()
}

function get(name: string, path: string, expected: Expected): PlannedRequest {
  const head = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  return { name, head, pieces: [], pause: 0, size: 0, stored: false, expected, last: false }
}

function post(name: string, path: string, seed: number, size: number, expected: Expected): PlannedRequest {
  const chunked = Math.random() < 0.4
  const pieceSize = random(Math.ceil(size / 200), LARGEST_CHUNK)
  const pieces: Uint8Array[] = []
  for (let at = 0; at < size; at += pieceSize) {
    const bytes = contentOf(seed, Math.min(pieceSize, size - at), at)
    pieces.push(chunked ? chunkOf(bytes) : bytes)
  }
  if (chunked) pieces.push(Buffer.from('0\r\n\r\n'))
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${size}`
  return {
    name: `${name} ${chunked ? 'in chunks' : 'with a length'}`,
    head: `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${framing}\r\n\r\n`,
    pieces,
    pause: Math.random() < 0.2 ? random(1, 10) : 0,
    size,
    stored: chunked || size > LARGE,
    expected,
    last: chunked,
  }
}

function chunkOf(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}

function newSeed(): number {
  return random(0, 2 ** 31)
}
