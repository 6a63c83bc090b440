import { expect, it } from 'vitest'
import { Dealer } from 'zeromq'
import { NodeConnection } from '../../../src/cluster/node-connection.ts'
import { SecureStream, STREAM_OPTIONS } from '../../../src/cluster/secure-stream.ts'
import { renderMultipart } from '../../../src/wire/zmtp/frame.ts'

it('hands over what comes of a message that does not end, and keeps none of it', async () => {
  const bound = new Dealer(STREAM_OPTIONS)
  const batches: number[] = []
  const connection = new NodeConnection(bound, {
    hear: () => {},
    receive: (worker, frames) => {
      expect(worker).toBe(7)
      batches.push(frames.length)
    },
  })
  await bound.bind('tcp://127.0.0.1:*')
  const peer = new Dealer(STREAM_OPTIONS)
  const stream = new SecureStream(peer, () => {})
  peer.connect(bound.lastEndpoint ?? '')
  await stream.opened
  const address = Buffer.alloc(4)
  address.writeUInt32LE(7)
  const frames = renderMultipart([address, ...Array.from({ length: 1024 }, () => Buffer.alloc(0))])
  stream.write([Buffer.concat(frames).subarray(0, -2)]) // its last frame does not come
  await expect.poll(() => batches).toEqual([256, 256, 256])
  stream.write([Buffer.from('0100', 'hex')])
  await expect.poll(() => batches).toEqual([256, 256, 256, 256])
  connection.close('the test is over')
  stream.destroy()
})
