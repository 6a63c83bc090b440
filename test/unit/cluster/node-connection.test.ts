import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Dealer } from 'zeromq'
import { NodeConnection } from '../../../src/cluster/node-connection.ts'
import { NodeSession } from '../../../src/cluster/node-session.ts'
import { SecureStream, STREAM_OPTIONS } from '../../../src/cluster/secure-stream.ts'
import { SharedMessage } from '../../../src/connection/shared-message.ts'
import { ownVersion } from '../../../src/runtime/process/versions.ts'
import { MORE, renderMessages } from '../../../src/wire/zmtp/frame.ts'
import { type News, parseOrder, renderJson, renderTopicFrame } from '../../../src/workers/protocol/frames.ts'
import type { WorkerHost } from '../../../src/workers/protocol/worker-handle.ts'
import { CollectingLogger } from '../../support/logger.ts'

const MIB = 1024 * 1024
const MAX_MESSAGE = 3 * MIB
/** Bytes that a frame of a worker may have: a message's body and its headers. */
const MOST = MAX_MESSAGE + 128 * 1024

let bound: Dealer
let peer: Dealer

beforeEach(async () => {
  bound = new Dealer(STREAM_OPTIONS)
  await bound.bind('tcp://127.0.0.1:*')
  peer = new Dealer(STREAM_OPTIONS)
})

afterEach(() => {
  bound.close()
  peer.close()
})

describe('a connection between a node and the main node', () => {
  let connection: NodeConnection
  let stream: SecureStream
  let batches: number[]
  let received: Buffer[]
  let logger: CollectingLogger

  beforeEach(async () => {
    batches = []
    received = []
    logger = new CollectingLogger()
    connection = new NodeConnection(bound, 'it', logger, {
      receiveControl: () => {},
      receive: (worker, frames, more) => {
        expect(worker).toBe(7)
        batches.push(frames.length + more)
        received.push(...frames)
      },
    })
    stream = new SecureStream(peer, () => {})
    peer.connect(bound.lastEndpoint ?? '')
    await stream.opened
  })

  afterEach(() => {
    connection.close('the test is over')
    stream.destroy()
  })

  function addressOf(worker: number): Buffer {
    const address = Buffer.alloc(4)
    address.writeUInt32LE(worker)
    return address
  }

  /** Sends the beginning of a message to a worker whose second frame is announced with so many bytes. */
  function announce(worker: number, size: number): void {
    const head = Buffer.alloc(9)
    head[0] = 2
    head.writeBigUInt64BE(BigInt(size), 1)
    stream.write([Buffer.from('0104', 'hex'), addressOf(worker), head, Buffer.from('{')])
  }

  it('hands over what comes of a message that does not end, and keeps none of it', async () => {
    const frames = renderMessages([addressOf(7), ...Array.from({ length: 1024 }, () => Buffer.alloc(0))], MORE)
    stream.write([Buffer.concat(frames).subarray(0, -2)]) // its last frame does not come
    await expect.poll(() => batches).toEqual([256, 256, 256])
    stream.write([Buffer.from('0100', 'hex')])
    await expect.poll(() => batches).toEqual([256, 256, 256, 256])
  })

  it('hands over large frames one by one', async () => {
    connection.allowMessages(MAX_MESSAGE)
    stream.write(renderMessages([addressOf(7), ...Array.from({ length: 3 }, () => Buffer.alloc(2 * MIB))], MORE))
    await expect.poll(() => batches).toEqual([1, 1, 1])
  })

  it('takes a frame as long as a message may be', async () => {
    connection.allowMessages(MAX_MESSAGE)
    stream.write(renderMessages([addressOf(7), Buffer.alloc(MOST)], MORE))
    await expect.poll(() => received.map(({ length }) => length)).toEqual([MOST])
  })

  it.each([
    ['of a control message', 0, 'a frame of 1073741824 bytes is larger than the 1048576 that one may have'],
    ['of a worker', 7, `a worker's frame of 1073741824 bytes is larger than the ${MOST} that one may have`],
  ])('ends with the head of a frame %s that is too long, and keeps nothing of it', async (_, worker, reason) => {
    connection.allowMessages(MAX_MESSAGE)
    announce(worker, 1024 * MIB)
    expect(await connection.closed).toBe(`it sent something wrong: ${reason}`)
  })

  it("ends with a worker's number that is too long", async () => {
    stream.write([Buffer.from('010568656c6c6f', 'hex')])
    expect(await connection.closed).toMatch('a frame of 5 bytes is larger than the 4 that one may have')
  })

  it("skips a topic's message that is too long, and goes on", async () => {
    connection.allowMessages(MAX_MESSAGE)
    const long = topicMessage(MOST + 1)
    stream.write(renderMessages([addressOf(7), Buffer.from('before'), long, Buffer.from('behind')], MORE))
    await expect.poll(() => received.map(String)).toEqual(['before', 'behind'])
    expect(batches.reduce((sum, count) => sum + count)).toBe(3)
    expect(logger.warnings).toEqual([
      `mongrel2-fetch skipped a topic's message of ${long.length} bytes from it: ` +
        `between machines it may have ${MOST}, which maxMessageSize raises`,
    ])
  })
})

it("counts a topic's message that was skipped among those that the node is told have been heard", async () => {
  const logger = new CollectingLogger()
  const heard: News[] = []
  const start = {
    app: { from: 'directory', path: 'app.ts' },
    options: { zeromq: '' },
    threads: 1,
    logLevels: [],
  } as const
  const pool = {
    addHost: async (node: WorkerHost) =>
      void node.start({ receive: (frame: Buffer) => heard.push(JSON.parse(String(frame))), ended: () => {} }),
    retireHost: () => {},
    removeHost: () => {},
  }
  const settings = { pool, start, endpoints: 1, maxMessageSize: MAX_MESSAGE, workers: undefined, logger }
  const session = new NodeSession(bound, 'n', settings)
  const told: number[] = []
  const node = new NodeConnection(
    peer,
    'the main node',
    {},
    {
      receiveControl: (control) => {
        if (control.kind !== 'start') return
        node.send(control.worker, [topicMessage(MOST + 1)])
        node.send(control.worker, [renderJson({ news: 'loaded' })])
      },
      receive: (_, frames) => {
        for (const order of frames.map(parseOrder)) if (order.order === 'confirm') told.push(order.frames)
      },
    },
  )
  peer.connect(bound.lastEndpoint ?? '')
  await node.opened
  node.sendControl({ kind: 'join', version: ownVersion(), processors: 1, seesUploads: false })
  await expect.poll(() => told.at(-1)).toBe(2)
  expect(heard).toEqual([{ news: 'loaded' }])
  expect(logger.warnings).toEqual([
    expect.stringMatching(
      /^mongrel2-fetch skipped a topic's message of \d+ bytes from node n: .* maxMessageSize raises$/,
    ),
  ])
  node.close('the test is over')
  session.connection.close('the test is over')
})

function topicMessage(size: number): Buffer {
  return renderTopicFrame(0, { name: 'news', message: new SharedMessage(true, Buffer.alloc(size), {}) })
}
