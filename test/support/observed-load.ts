import { connect } from 'node:net'

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
  { head: 'GET /status/404 HTTP/1.1\r\nHost: a\r\nReferer: "quoted\\\r\nUser-Agent: caf\xe9\\"\r\n' },
  { head: 'GET /status/304 HTTP/1.0\r\n' },
  { head: 'GET /throws HTTP/1.1\r\nHost: a\r\n' },
  { head: 'GET /stream HTTP/1.1\r\nHost: a\r\n' },
  { head: 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n', body: Buffer.alloc(1000, 'a') },
  { head: 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n', body: Buffer.alloc(100_000, 'b') },
  { head: 'GET /refused HTTP/1.1\r\nHost: a b\r\n' },
  { head: 'GET /endless HTTP/1.1\r\nHost: a\r\n', leaves: true },
  { head: `GET /socket HTTP/1.1\r\nHost: a\r\n${WEBSOCKET}`, leaves: true },
  { head: 'GET /pipelined HTTP/1.1\r\nHost: a\r\n', times: 3 },
]

/**
 * Sends so many rounds of all kinds of requests, 16 at once, and counts what comes.
 *
 * @param pipelined Whether some are pipelined: where several processes pull, those have no order.
 */
export async function observedLoad(port: number, rounds: number, pipelined = true): Promise<Counted> {
  const counted: Counted = { statuses: {}, bytes: 0, sent: 0, aborted: 0 }
  const kinds = KINDS.filter(({ times }) => pipelined || times === undefined)
  const waiting = Array.from({ length: rounds }, () => kinds).flat()
  const run = async () => {
    for (let kind = waiting.pop(); kind !== undefined; kind = waiting.pop()) await ask(port, kind, counted)
  }
  await Promise.all(Array.from({ length: 16 }, run))
  return counted
}

async function ask(port: number, { head, body, leaves = false, times = 1 }: Kind, counted: Counted): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  const parts: Buffer[] = []
  const closing = `${head}${head.includes('Connection') ? '' : 'Connection: close\r\n'}\r\n`
  socket.write(Buffer.from(`${`${head}\r\n`.repeat(times - 1)}${closing}`, 'latin1'))
  if (body !== undefined) socket.write(body)
  await new Promise<void>((resolve, reject) => {
    socket.on('data', (part) => {
      parts.push(part)
      if (!leaves) return
      socket.destroy()
      resolve()
    })
    socket.on('end', () => socket.end())
    socket.on('close', () => resolve())
    socket.on('error', reject)
  })
  const bytes = Buffer.concat(parts)
  const statuses = bytes.toString('latin1').match(/(?<=HTTP\/1\.1 )\d{3}/g) ?? ['none']
  for (const status of statuses) counted.statuses[status] = (counted.statuses[status] ?? 0) + 1
  if (leaves) {
    if (statuses[0] !== '101') counted.aborted++
    return
  }
  counted.bytes += bytes.length
  counted.sent += body?.length ?? 0
}
