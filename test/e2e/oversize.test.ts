import { describe, expect, it } from 'vitest'
import { CollectingLogger } from '../support/logger.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { RawClient, request } from '../support/raw-client.ts'
import { serveWithWorkers } from '../support/serve-with-workers.ts'
import { ServerProcess } from '../support/server-process.ts'
import { RawWebSocket } from '../support/websocket-client.ts'
import { clientFrame } from '../support/websocket-frames.ts'

const MIB = 1024 * 1024
const MAX_MESSAGE = MIB
/** Over the bound by far. */
const LARGE = 64 * MIB
const APP = new URL('oversize/app.ts', import.meta.url)

/** Sends what is too large on a WebSocket and in a request, while another socket stays open and goes on. */
async function sendLarge(mongrel2: Mongrel2, path: string, size: number): Promise<void> {
  using other = await RawWebSocket.open(mongrel2.port, path)
  using socket = await RawWebSocket.open(mongrel2.port, path)
  socket.send(clientFrame(2, Buffer.alloc(size)))
  await socket.until(() => socket.ended)
  expect(socket.frames.at(-1)).toMatchObject({ opcode: 8 })
  expect(socket.frames.at(-1)?.payload.readUInt16BE()).toBe(1009)

  using client = new RawClient(mongrel2.port)
  client.send(request('/', 'POST', `Content-Length: ${8 * MIB}\r\n`)).send(Buffer.alloc(8 * MIB))
  expect((await client.response()).status).toBe(413)
  await client.closed

  const before = other.frames.length
  other.send(clientFrame(1, Buffer.from('still here')))
  await other.until(() => other.frames.length > before)
  expect(other.frames.at(-1)?.payload.toString()).toBe('still here')
}

describe('what is longer than maxMessageSize', () => {
  it.each(['zmtp', 'zeromq'] as const)(
    'ends its own connection, and the link lives on: %s',
    async (link) => {
      await using mongrel2 = await startMongrel2({ settings: { 'limits.content_length': 16 * MIB } })
      const options = { zeromq: mongrel2.endpoint, maxMessageSize: MAX_MESSAGE, link }
      await using server = await ServerProcess.start(APP, options)
      const before = await server.report({ collect: true })
      await sendLarge(mongrel2, '/', LARGE)
      const { peak } = await server.report()
      // libzmq has to take a message before it can be refused.
      if (link === 'zmtp') expect(peak - before.peak).toBeLessThan(LARGE / 2)
    },
    60_000,
  )

  it('ends its own connection where workers serve, and the link lives on', async () => {
    await using mongrel2 = await startMongrel2({ settings: { 'limits.content_length': 16 * MIB } })
    const logger = new CollectingLogger()
    const options = { zeromq: mongrel2.endpoint, maxMessageSize: MAX_MESSAGE, logger }
    const server = serveWithWorkers({ workers: 2, options })
    await server.ready
    await sendLarge(mongrel2, '/socket', 4 * MIB)
    expect(logger.warnings).toEqual([])
    await server.close({ timeout: 1000 })
  }, 60_000)
})
