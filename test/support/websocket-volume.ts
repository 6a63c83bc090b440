import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { type EndpointInput, type Mongrel2Options, type ServerWebSocket, upgradeWebSocket } from '../../src/index.ts'
import type { TestCertificate } from './certificate.ts'
import { checksumOf, MessageChecksum, MessageStream } from './message-stream.ts'
import { type Mongrel2, startMongrel2 } from './mongrel2.ts'
import { withoutControlPort } from './pacing-modes.ts'
import { serveMongrel2 } from './serve.ts'

/** How it is known what a client has read, as Mongrel2 and the server are set up for it. */
export const PACINGS = ['credits', 'controlPort', 'estimate'] as const
export type PacingName = (typeof PACINGS)[number]

/** Starts a Mongrel2 for a way of pacing; the endpoint says the control port where it is to be used. */
export async function startPaced(
  pacing: PacingName,
  certificate?: TestCertificate,
): Promise<{ mongrel2: Mongrel2; zeromq: EndpointInput }> {
  const mongrel2 = await startMongrel2({ flowControl: pacing === 'credits', ...(certificate && { certificate }) })
  const { endpoint, controlPort } = mongrel2
  return { mongrel2, zeromq: pacing === 'controlPort' ? `${endpoint},${controlPort}` : withoutControlPort(endpoint) }
}

const LARGEST = 300_000
/** What waits at most before the next message is sent, by either side. */
const MOST_WAITING = 1024 * 1024
/** Of the client's messages, one in so many goes in fragments with a ping between them. */
const FRAGMENTED = 10

/** What arrived at both ends, and what should have. */
export interface VolumeResult {
  readonly arrived: { readonly server: string; readonly client: string }
  readonly sent: { readonly server: string; readonly client: string }
}

/** Sends messages both ways at once, each side its own, and compares what arrives by checksum; with a certificate by TLS. */
export async function exchangeMessages(
  count: number,
  pacing: PacingName,
  options: Partial<Mongrel2Options> & { perMessageDeflate?: boolean; certificate?: TestCertificate } = {},
): Promise<VolumeResult> {
  const { perMessageDeflate = false, certificate, ...serverOptions } = options
  const { mongrel2, zeromq } = await startPaced(pacing, certificate)
  await using _ = mongrel2
  const atServer = new MessageChecksum()
  const atClient = new MessageChecksum()
  let serverSent: Promise<void> | undefined
  await using server = serveMongrel2(
    (request) => {
      const { socket, response } = upgradeWebSocket(request, { perMessageDeflate })
      socket.binaryType = 'arraybuffer'
      socket.onmessage = ({ data }) => {
        if (data instanceof Blob) throw new Error('expected no Blob')
        atServer.add(typeof data === 'string' ? data : new Uint8Array(data))
      }
      socket.onopen = () => {
        serverSent = sendFromServer(socket, count)
      }
      return response
    },
    { zeromq, ...serverOptions },
  )
  await server.ready
  const scheme = certificate === undefined ? 'ws' : 'wss'
  const tls = certificate && { ca: certificate.cert }
  const client = new WebSocket(`${scheme}://127.0.0.1:${mongrel2.port}/`, { perMessageDeflate, ...tls })
  client.on('message', (data: Buffer, binary) => atClient.add(binary ? data : data.toString()))
  const ended = once(client, 'close')
  await once(client, 'open')
  const done = async () => {
    while ((atServer.count < count || atClient.count < count) && client.readyState === client.OPEN) await sleep(5)
  }
  await Promise.all([sendFromClient(client, count), done()])
  await serverSent
  client.close()
  await ended
  return {
    arrived: { server: String(atServer), client: String(atClient) },
    sent: {
      server: checksumOf(new MessageStream(1, LARGEST), count),
      client: checksumOf(new MessageStream(2, LARGEST), count),
    },
  }
}

async function sendFromServer(socket: ServerWebSocket, count: number): Promise<void> {
  const stream = new MessageStream(2, LARGEST)
  for (let n = 0; n < count && socket.readyState === 1; n++) {
    socket.send(stream.next())
    while (socket.bufferedAmount > MOST_WAITING && socket.readyState === 1) await sleep(1)
  }
}

async function sendFromClient(client: WebSocket, count: number): Promise<void> {
  const stream = new MessageStream(1, LARGEST)
  for (let n = 0; n < count && client.readyState === 1; n++) {
    const message = stream.next()
    if (n % FRAGMENTED > 0) client.send(message)
    else {
      const binary = typeof message !== 'string'
      const bytes = Buffer.from(message)
      const cuts = [Math.floor(bytes.length / 3), Math.floor(bytes.length / 2)]
      client.send(bytes.subarray(0, cuts[0]), { binary, fin: false })
      client.ping(`between ${n}`)
      client.send(bytes.subarray(cuts[0], cuts[1]), { fin: false })
      client.send(bytes.subarray(cuts[1]), { fin: true })
    }
    while (client.bufferedAmount > MOST_WAITING && client.readyState === 1) await sleep(1)
  }
}
