import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { renderFrame, WebSocketFault } from '../../../src/wire/websocket/frames.ts'
import { FrameFollower, WebSocketReader } from '../../../src/wire/websocket/reader.ts'
import { clientFrame } from '../../support/websocket-frames.ts'

const MIB = 1024 * 1024

/** What a reader makes of these pieces: the first byte, and the payload. */
function read(pieces: readonly Buffer[], maxSize = 100_000): [flags: string, payload: string][] {
  const reader = new WebSocketReader(maxSize)
  return pieces.flatMap((piece) =>
    [...reader.read(piece)].map(({ flags, payload }): [string, string] => [
      flags.toString(16),
      payload.toString('latin1'),
    ]),
  )
}

function faultOf(...frames: Buffer[]): number | undefined {
  try {
    read([Buffer.concat(frames)])
    return undefined
  } catch (error) {
    if (!(error instanceof WebSocketFault)) throw error
    return error.code
  }
}

/** The same bytes, cut anywhere. */
const pieces = (bytes: Buffer) =>
  fc.array(fc.nat(bytes.length), { maxLength: 30 }).map((cuts) => {
    const at = [0, ...cuts.sort((a, b) => a - b), bytes.length]
    return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
  })

const FRAMES = Buffer.concat([
  clientFrame(1, 'text'),
  clientFrame(2, 'b'.repeat(126)),
  clientFrame(2, Buffer.alloc(70_000, 'c'), { rsv: 0x40 }),
  clientFrame(1, ''),
  clientFrame(1, 'frag', { fin: false }),
  clientFrame(9, 'ping'),
  clientFrame(0, '', { fin: false }),
  clientFrame(0, 'ment', { fin: false }),
  clientFrame(0, 's'),
  clientFrame(8, '\x03'),
])

describe('WebSocketReader', () => {
  it('joins fragments, and gives control frames at once, however the bytes are cut', () => {
    const expected = [
      ['81', 'text'],
      ['82', 'b'.repeat(126)],
      ['c2', 'c'.repeat(70_000)],
      ['81', ''],
      ['89', 'ping'],
      ['81', 'fragments'],
      ['88', '\x03'],
    ]
    expect(read([FRAMES])).toEqual(expected)
    fc.assert(
      fc.property(pieces(FRAMES), (cut) => {
        expect(read(cut)).toEqual(expected)
      }),
      { numRuns: 30 },
    )
  })

  it.each<[what: string, code: number | undefined, ...frames: Buffer[]]>([
    ['that is not masked', 1002, clientFrame(1, 'x', { masked: false })],
    ['that goes on with nothing', 1002, clientFrame(0, 'x')],
    ['that begins another message', 1002, clientFrame(1, 'x', { fin: false }), clientFrame(1, 'x')],
    ['that is a ping in fragments', 1002, clientFrame(9, 'x', { fin: false })],
    ['that is a ping of 126 bytes', 1002, clientFrame(9, 'x'.repeat(126))],
    ['of as many bytes as there may be', undefined, clientFrame(2, Buffer.alloc(100_000))],
    ['of one more', 1009, clientFrame(2, '', { length: 100_001n })],
    ['that announces the most there is', 1009, clientFrame(2, '', { length: 2n ** 64n - 1n })],
    [
      'with which its message is too long',
      1009,
      clientFrame(2, 'x'.repeat(60_000), { fin: false }),
      clientFrame(0, 'x'.repeat(40_001)),
    ],
  ])('ends with a frame %s: %s', (_, code, ...frames) => {
    expect(faultOf(...frames)).toBe(code)
  })

  it.each<[what: string, fragment: Buffer, times: number, most: number]>([
    ['empty fragments', clientFrame(0, '', { fin: false }), 1_000_000, MIB],
    ['fragments of a byte', clientFrame(0, 'x', { fin: false }), 1_000_000, 8 * MIB],
  ])('needs no memory for %s but that of their bytes', (_, fragment, times, most) => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const used = () => {
      collect()
      const { heapUsed, external, arrayBuffers } = process.memoryUsage()
      return heapUsed + external + arrayBuffers
    }
    const reader = new WebSocketReader(16 * MIB)
    const some = Buffer.concat(Array<Buffer>(1000).fill(fragment))
    expect([...reader.read(clientFrame(1, 'x', { fin: false }))]).toEqual([])
    const before = used()
    for (let sent = 0; sent < times; sent += 1000) for (const _ of reader.read(some)) throw new Error('not expected')
    expect(used() - before).toBeLessThan(most)
    expect([...reader.read(clientFrame(0, 'x'))]).toHaveLength(1)
  })

  it('takes no memory for what a frame announces and does not send', () => {
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 1000 }, () => new WebSocketReader(16 * MIB))
    for (const reader of readers)
      for (const _ of reader.read(clientFrame(2, 'x', { length: 16n * 1024n * 1024n }))) throw new Error('not expected')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MIB)
  })
})

describe('FrameFollower', () => {
  it('knows where frames end, however the bytes are cut', () => {
    const frames = Buffer.concat([0, 5, 125, 126, 65_535, 65_536].map((size) => renderFrame(2, Buffer.alloc(size))))
    fc.assert(
      fc.property(pieces(frames), (cut) => {
        const follower = new FrameFollower()
        for (const piece of cut) follower.push(piece)
        expect(follower.betweenFrames).toBe(true)
        follower.push(frames.subarray(0, 3))
        expect(follower.betweenFrames).toBe(false)
      }),
    )
  })
})
