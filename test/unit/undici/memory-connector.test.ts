import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import { memoryConnector } from '../../../adapters/undici/memory-connector.ts'

it('A connection through memory ends on both sides when the gateway ends its own, as that of a client does', async () => {
  let gatewaySide: Duplex | undefined
  const admit = (stream: Duplex) => {
    gatewaySide = stream
  }
  const connect = memoryConnector(Promise.resolve({ admit }))
  const clientSide = await new Promise<Duplex | null>((resolve) => {
    connect({ hostname: 'x', protocol: 'http:', port: '80' }, (_error, socket) => resolve(socket))
  })
  clientSide?.resume()
  gatewaySide?.resume().end()
  if (gatewaySide !== undefined) await once(gatewaySide, 'end')
  expect(clientSide?.writableFinished).toBe(true)
})
