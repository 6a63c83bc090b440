import { connect } from 'node:net'
import type { Mongrel2 } from './mongrel2.ts'

/** What clients counted. */
export interface Counted {
  /** Answers by their status. */
  readonly statuses: Record<string, number>
  /** Bytes of all answers that came whole, heads included. */
  bytes: number
  /** Bytes of all bodies sent with them. */
  sent: number
  /** Requests whose client left amid the answer. */
  aborted: number
}

/** A kind of request: its text without the last line of the head, and its body. */
interface Kind {
  readonly head: string
  readonly body?: Buffer
  /** Of its answers. Default: 200. */
  readonly status?: string
  /** Whether the client leaves after the first bytes. */
  readonly leaves?: boolean
  /** Requests on the connection, sent at once. */
  readonly times?: number
}

const WEBSOCKET =
  'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

const KINDS: readonly Kind[] = [
  { head: 'GET /plain HTTP/1.1\r\nHost: a\r\n' },
  { head: 'HEAD /plain HTTP/1.1\r\nHost: a\r\n' },
  { head: 'GET /status/404 HTTP/1.1\r\nHost: a\r\nReferer: "quoted\\\r\nUser-Agent: caf\xe9\\"\r\n', status: '404' },
  { head: 'GET /status/304 HTTP/1.0\r\n', status: '304' },
  { head: 'GET /throws HTTP/1.1\r\nHost: a\r\n', status: '500' },
  { head: 'GET /stream HTTP/1.1\r\nHost: a\r\n' },
  { head: 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n', body: Buffer.alloc(1000, 'a') },
  { head: 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n', body: Buffer.alloc(100_000, 'b') },
  { head: 'GET /refused HTTP/1.1\r\nHost: a b\r\n', status: '400' },
  { head: 'GET /endless HTTP/1.1\r\nHost: a\r\n', leaves: true },
  { head: `GET /socket HTTP/1.1\r\nHost: a\r\n${WEBSOCKET}`, status: '101', leaves: true },
  { head: 'GET /pipelined HTTP/1.1\r\nHost: a\r\n', times: 3 },
]

/** How long an answer is waited for, in milliseconds. */
const PATIENCE = 30_000

/**
 * Sends so many rounds of all kinds of requests, 16 at once, and counts what comes.
 *
 * Mongrel2 spoils one in some 20,000: when a reply finds that its client has left, Mongrel2 closes the socket while a task of that client still
 * waits for it; the task reads from the next client, whose socket has the same number. That client gets no answer, or if only the head of its
 * request was taken a 400 of Mongrel2's. Such a request is sent again, and there may be no more of them than such closed sockets.
 *
 * @param pipelined Whether some are pipelined: where several processes pull, those have no order.
 */
export async function observedLoad(mongrel2: Mongrel2, rounds: number, pipelined = true): Promise<Counted> {
  const counted: Counted = { statuses: {}, bytes: 0, sent: 0, aborted: 0 }
  const kinds = KINDS.filter(({ times }) => pipelined || times === undefined)
  const waiting = Array.from({ length: rounds }, () => kinds).flat()
  let spoilt = 0
  const run = async () => {
    for (let kind = waiting.pop(); kind !== undefined; kind = waiting.pop()) {
      while (!(await ask(mongrel2.port, kind, counted))) spoilt++
    }
  }
  await Promise.all(Array.from({ length: 16 }, run))
  const closed = (await mongrel2.errorLog()).split('Failed to deliver to connection').length - 1
  if (spoilt > closed) throw new Error(`${spoilt} requests without their answer, ${closed} sockets closed by replies`)
  return counted
}

/** Sends a request and counts its answer; false if another came, or none. */
async function ask(port: number, kind: Kind, counted: Counted): Promise<boolean> {
  const { head, body, status = '200', leaves = false, times = 1 } = kind
  const socket = connect(port, '127.0.0.1')
  const parts: Buffer[] = []
  const closing = `${head}${head.includes('Connection') ? '' : 'Connection: close\r\n'}\r\n`
  socket.write(Buffer.from(`${`${head}\r\n`.repeat(times - 1)}${closing}`, 'latin1'))
  if (body !== undefined) socket.write(body)
  await new Promise<void>((resolve) => {
    socket.setTimeout(PATIENCE, () => socket.destroy())
    socket.on('data', (part) => {
      parts.push(part)
      if (!leaves) return
      socket.destroy()
      resolve()
    })
    socket.on('end', () => socket.end())
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
  const bytes = Buffer.concat(parts)
  const statuses = bytes.toString('latin1').match(/(?<=HTTP\/1\.1 )\d{3}/g) ?? []
  if (statuses.length !== times || statuses.some((one) => one !== status)) return false
  counted.statuses[status] = (counted.statuses[status] ?? 0) + times
  if (leaves) {
    if (status !== '101') counted.aborted++
    return true
  }
  counted.bytes += bytes.length
  counted.sent += body?.length ?? 0
  return true
}
