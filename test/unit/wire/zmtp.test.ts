import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { type PayloadReply, type Reply, renderReply } from '../../../src/wire/reply.ts'
import {
  parseCommand,
  parseError,
  parseReady,
  renderCommand,
  renderError,
  renderPing,
  renderPong,
  renderReady,
  subscriptionInMessage,
} from '../../../src/wire/zmtp/command.ts'
import {
  type Frame,
  type FrameBounds,
  FrameParser,
  MAX_FRAME,
  MORE,
  renderMessages,
} from '../../../src/wire/zmtp/frame.ts'
import { GREETING, parseGreeting, ZMTP_3_1 } from '../../../src/wire/zmtp/greeting.ts'
import { mutate, mutations } from '../support/mutation.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const latin1 = (text: string) => Buffer.from(text, 'latin1')

/** A greeting with bytes replaced from a position on. */
function greetingWith(at: number, bytes: Buffer): Buffer {
  const greeting = Buffer.from(GREETING)
  bytes.copy(greeting, at)
  return greeting
}

/** Parses a stream that comes in these reads, each of which is overwritten when the parser returns. */
function parseFrames(reads: readonly Buffer[], bounds?: FrameBounds): Frame[] {
  const frames: Frame[] = []
  const parser = new FrameParser((frame) => frames.push(frame), bounds)
  for (const read of reads) {
    const bytes = Buffer.from(read)
    parser.push(bytes)
    bytes.fill(0xee)
  }
  return frames
}

/** Parses a stream that comes in reads of these sizes, in turn, each into the parser's place where it has one. */
function parseInPlace(stream: Buffer, sizes: readonly number[], bounds: FrameBounds) {
  const frames: Frame[] = []
  const parser = new FrameParser((frame) => frames.push(frame), bounds)
  const buffer = Buffer.alloc(Math.max(...sizes))
  let direct = 0
  for (let at = 0, n = 0; at < stream.length; n++) {
    const { place } = parser
    const space = place ?? buffer
    const size = stream.copy(space, 0, at, at + Math.min(space.length, sizes[n % sizes.length] as number))
    if (place === undefined) parser.push(buffer.subarray(0, size))
    else parser.filled(size)
    if (place !== undefined) direct += size
    buffer.fill(0xee)
    at += size
  }
  return { frames, direct }
}

/** Cuts bytes at positions that count from 0 to 1. */
function cut(bytes: Buffer, positions: readonly number[]): Buffer[] {
  const ends = positions.map((position) => Math.floor(position * bytes.length)).sort((a, b) => a - b)
  return [0, ...ends].map((start, n) => bytes.subarray(start, ends[n] ?? bytes.length))
}

describe('the greeting', () => {
  it('is 64 bytes of ZMTP 3.1 with NULL and no server', () => {
    expect(GREETING).toEqual(hex(`ff 0000000000000000 7f 03 01 ${'4e554c4c'.padEnd(40, '0')} 00 ${'00'.repeat(31)}`))
  })

  it.each<[what: string, bytes: Buffer, version: number]>([
    ['ours', GREETING, ZMTP_3_1],
    ['of 3.0', greetingWith(11, hex('00')), 0x0300],
    ['of a later version', greetingWith(10, hex('0402')), 0x0402],
    ['with any padding', greetingWith(1, hex('ffffffffffffffff')), 0x0301],
    ['with any filler', greetingWith(33, Buffer.alloc(31, 0xff)), 0x0301],
  ])('%s tells the version once it is complete', (_what, bytes, version) => {
    for (let length = 0; length < 64; length++) expect(parseGreeting(bytes.subarray(0, length))).toBeUndefined()
    expect(parseGreeting(bytes)).toBe(version)
    expect(parseGreeting(Buffer.concat([bytes, latin1('more')]))).toBe(version)
  })

  it.each<[what: string, bytes: Buffer, clearAt: number, message: string]>([
    ['HTTP', latin1('HTTP/1.1 400 Bad Request\r\n'), 1, 'expected the greeting of ZMTP 3, got "HTTP/1.1 4"'],
    ['ZMTP 1.0 with an identity', hex('04 00 616263'), 1, 'expected the greeting of ZMTP 3, got "\\u0004\\u0000abc"'],
    [
      'ZMTP 1.0 with a long one',
      hex('ff 0000000000000101 00 6161'),
      10,
      'expected the greeting of ZMTP 3, got "ÿ\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0001\\u0001\\u0000"',
    ],
    [
      'ZMTP 1.0, by its revision',
      hex('ff 0000000000000001 7f 00'),
      11,
      'expected ZMTP 3.0 or later, got 1.0: use a newer libzmq',
    ],
    [
      'ZMTP 2.0',
      hex('ff 0000000000000001 7f 01 08 00 00'),
      11,
      'expected ZMTP 3.0 or later, got 2.0: use a newer libzmq',
    ],
    ['PLAIN', greetingWith(12, latin1('PLAIN')), 64, 'expected the security mechanism NULL, got "PLAIN"'],
    ['CURVE', greetingWith(12, latin1('CURVE')), 64, 'expected the security mechanism NULL, got "CURVE"'],
    ['a longer NULL', greetingWith(12, latin1('NULL2')), 64, 'expected the security mechanism NULL, got "NULL2"'],
    ['no mechanism', greetingWith(12, hex('00000000')), 64, 'expected the security mechanism NULL, got ""'],
  ])('of %s is refused as soon as it is clear', (_what, bytes, clearAt, message) => {
    expect(parseGreeting(bytes.subarray(0, clearAt - 1))).toBeUndefined()
    expect(() => parseGreeting(bytes.subarray(0, clearAt))).toThrow(MalformedError)
    expect(() => parseGreeting(bytes)).toThrow(new MalformedError(message))
  })
})

describe('a frame', () => {
  it.each<[what: string, bytes: Buffer, body: Buffer, flags: string]>([
    ['empty', hex('00 00'), latin1(''), ''],
    ['short', hex('00 03 616263'), latin1('abc'), ''],
    ['short at its longest', Buffer.concat([hex('00 ff'), Buffer.alloc(255, 1)]), Buffer.alloc(255, 1), ''],
    ['long', Buffer.concat([hex('02 0000000000000100'), Buffer.alloc(256, 1)]), Buffer.alloc(256, 1), ''],
    ['long though it need not be', hex('02 0000000000000001 61'), latin1('a'), ''],
    ['long and empty', hex('02 0000000000000000'), latin1(''), ''],
    ['with more behind it', hex('01 01 61'), latin1('a'), 'more'],
    ['long with more behind it', hex('03 0000000000000001 61'), latin1('a'), 'more'],
    ['a command', hex('04 05 04 50494e47'), latin1('\x04PING'), 'command'],
    ['a long command', hex('06 0000000000000005 04 50494e47'), latin1('\x04PING'), 'command'],
  ])('%s is parsed however it is cut', (_what, bytes, body, flags) => {
    const frame = { body, size: body.length, command: flags === 'command', more: flags === 'more' }
    expect(parseFrames([bytes])).toEqual([frame])
    expect(parseFrames([...bytes].map((byte) => Buffer.from([byte])))).toEqual([frame])
    for (let at = 0; at < bytes.length; at++) {
      expect(parseFrames([bytes.subarray(0, at)])).toEqual([])
      expect(parseFrames([bytes.subarray(0, at), Buffer.concat([bytes.subarray(at), bytes])])).toEqual([frame, frame])
    }
  })

  it.each<[what: string, bytes: Buffer, message: string]>([
    ['with a reserved flag', hex('08 00'), "expected a frame's flags, got 0x08"],
    ['with all flags', hex('ff 00'), "expected a frame's flags, got 0xff"],
    ['of text', latin1('HTTP'), "expected a frame's flags, got 0x48"],
    ['that is a command with more', hex('05 05 04 50494e47'), "expected a frame's flags, got 0x05"],
    ['that is a long command with more', hex('07 0000000000000000'), "expected a frame's flags, got 0x07"],
    [
      'over the bound',
      hex('02 0000000040000001'),
      `a frame of ${MAX_FRAME + 1} bytes is larger than the ${MAX_FRAME} that one may have`,
    ],
    [
      'over the bound by far',
      hex('02 8000000000000000'),
      `a frame of ${2 ** 63} bytes is larger than the ${MAX_FRAME} that one may have`,
    ],
  ])('%s is refused', (_what, bytes, message) => {
    expect(() => parseFrames([bytes])).toThrow(new MalformedError(message))
  })

  it('may be as large as the bound', () => {
    expect(parseFrames([hex('02 0000000000000004 61626364')], { maxFrame: 4 })).toHaveLength(1)
    expect(() => parseFrames([hex('02 0000000000000005 6162636465')], { maxFrame: 4 })).toThrow(MalformedError)
  })

  it('over the bound is cut where that is wanted, wherever reads cut it, and the next one is whole', () => {
    const bounds = { maxFrame: 4, cutTo: 2 }
    const bytes = hex('00 06 616263646566  01 04 61626364  02 0000000000000005 6162636465  00 01 7a')
    const bodies = (reads: readonly Buffer[]) => parseFrames(reads, bounds).map(({ body }) => body.toString())
    expect(bodies([bytes])).toEqual(['ab', 'abcd', 'ab', 'z'])
    expect(bodies([...bytes].map((byte) => Buffer.from([byte])))).toEqual(['ab', 'abcd', 'ab', 'z'])
    for (let at = 1; at < bytes.length; at++) {
      expect(bodies([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(['ab', 'abcd', 'ab', 'z'])
    }
  })

  it('of a command that is far too long is refused, also where messages are cut', () => {
    for (const bounds of [{ maxFrame: MAX_FRAME }, { maxFrame: MAX_FRAME, cutTo: 2 }]) {
      expect(() => parseFrames([hex('06 0000000000010001')], bounds)).toThrow(
        new MalformedError(`a command of 65537 bytes is larger than the 65536 that one may have`),
      )
    }
  })

  it('has memory of its own, so that keeping it keeps nothing else', () => {
    const size = Buffer.poolSize // smaller ones share Node's pool, which is 8 KiB or 64 KiB
    const head = hex(`02 ${size.toString(16).padStart(16, '0')}`)
    const [frame] = parseFrames([Buffer.concat([head, Buffer.alloc(size, 7), Buffer.alloc(2)])])
    expect(frame?.body.buffer.byteLength).toBe(size)
  })
})

describe('rendered messages', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.oneof(fc.nat(10_000), fc.integer({ min: 4094, max: 4098 })).map((size) => new Uint8Array(size).fill(size)),
  )
  const value = fc.record<PayloadReply>({
    sender: fc.constantFrom('s', '34f9ceee-cd52-4b7f-b197-88bf2f0ec378'),
    connectionIds: fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 128 }),
    payload: fc.array(bytes, { maxLength: 4 }),
  })
  const body: fc.Arbitrary<Reply> = fc.oneof(
    bytes.map((each) => Buffer.from(each)),
    value,
  )

  it('are parsed back, whatever their sizes and wherever reads cut them', () => {
    fc.assert(
      fc.property(
        fc.array(body, { maxLength: 12 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
        fc.constantFrom(0, MORE),
        (bodies, cuts, more) => {
          const stream = Buffer.concat(renderMessages(bodies, more))
          expect(parseFrames(cut(stream, cuts))).toEqual(
            bodies.map(renderReply).map((message, n) => {
              return { body: message, size: message.length, command: false, more: more > 0 && n < bodies.length - 1 }
            }),
          )
        },
      ),
    )
  })

  it('are joined into one piece where they are small', () => {
    expect(renderMessages([latin1('a'), latin1(''), latin1('bc')])).toEqual([hex('00 01 61 00 00 00 02 6263')])
    expect(renderMessages([])).toEqual([])
  })

  it('are not copied where they are large', () => {
    const large = Buffer.alloc(100_000, 1)
    const pieces = renderMessages([latin1('a'), large, large, latin1('b')])
    expect(pieces).toHaveLength(5)
    expect(pieces[0]).toEqual(hex('00 01 61 02 00000000000186a0'))
    expect(pieces[1]).toBe(large)
    expect(pieces[3]).toBe(large)
    expect(pieces[4]).toEqual(hex('00 01 62'))
  })

  it('may be given in pieces, of which only the small are copied', () => {
    const large = Buffer.alloc(100_000, 1)
    const payload = [latin1('a'), new Uint8Array([98]), large, new Uint8Array(large), latin1('c')]
    const pieces = renderMessages([{ sender: 's', connectionIds: [1, 2], payload }, latin1('d')])
    const envelope = latin1('s 3:1 2, ').toString('hex')
    expect(pieces).toEqual([hex(`02 0000000000030d4c ${envelope} 6162`), large, large, hex('63 00 01 64')])
    expect(pieces[1]).toBe(large)
    expect(pieces[2]?.buffer).toBe(payload[3]?.buffer)
  })
})

describe('a command', () => {
  it.each<[what: string, rendered: Buffer, bytes: Buffer]>([
    [
      'READY',
      renderReady({ 'Socket-Type': 'PULL', Identity: '' }),
      hex('04 27 05 5245414459 0b 536f636b65742d54797065 00000004 50554c4c 08 4964656e74697479 00000000'),
    ],
    ['ERROR', renderError('no'), hex('04 09 05 4552524f52 02 6e6f')],
    ['PING', renderPing(0), hex('04 07 04 50494e47 0000')],
    ['PING with a time to live', renderPing(600), hex('04 07 04 50494e47 0258')],
    ['PONG', renderPong(hex('0000 6162')), hex('04 07 04 504f4e47 6162')],
    [
      'a long one',
      renderCommand('X', Buffer.alloc(254)),
      Buffer.concat([hex('06 0000000000000100 01 58'), Buffer.alloc(254)]),
    ],
  ])('%s is rendered as the specification has it', (_what, rendered, bytes) => {
    expect(rendered).toEqual(bytes)
  })

  it('is parsed into its name and data', () => {
    expect(parseCommand(hex('04 50494e47 0000'))).toEqual({ name: 'PING', data: hex('0000') })
    expect(parseCommand(hex('01 58'))).toEqual({ name: 'X', data: hex('') })
  })

  it.each(['', '00', '0050', '01', '0550494e47'])('without a name is refused: %s', (bytes) => {
    expect(() => parseCommand(hex(bytes))).toThrow(MalformedError)
  })

  it('PONG says the context of the PING, of up to 16 bytes', () => {
    const context = Buffer.alloc(16, 'c')
    expect(renderPong(Buffer.concat([hex('ffff'), context]))).toEqual(
      Buffer.concat([hex('04 15 04 504f4e47'), context]),
    )
    for (const data of ['', '00', '00'.repeat(19)]) expect(() => renderPong(hex(data))).toThrow(MalformedError)
  })

  it('ERROR says its reason, as far as it goes', () => {
    expect(parseError(hex('02 6e6f'))).toBe('no')
    expect(parseError(hex('ff 6e6f'))).toBe('no')
    expect(parseError(hex(''))).toBe('')
  })

  it('READY is a list of properties whose names have no case', () => {
    const data = hex('0b 534f434b45542d74797065 00000003 535542 01 78 00000000')
    expect(parseReady(data)).toEqual(
      new Map([
        ['socket-type', 'SUB'],
        ['x', ''],
      ]),
    )
    expect(parseReady(hex(''))).toEqual(new Map())
  })

  it.each([
    ['an empty name', '00 00000000'],
    ['a name that is cut', '05 6162'],
    ['a name without a value', '01 61'],
    ['a length that is cut', '01 61 000000'],
    ['a value that is cut', '01 61 00000002 61'],
    ['a value of 4 GiB', '01 61 ffffffff 61'],
  ])('READY with %s is refused', (_what, data) => {
    expect(() => parseReady(hex(data))).toThrow(MalformedError)
  })
})

describe('a subscription', () => {
  it.each([
    ['01 6162', { name: 'SUBSCRIBE', data: latin1('ab') }],
    ['01', { name: 'SUBSCRIBE', data: latin1('') }],
    ['00 6162', { name: 'CANCEL', data: latin1('ab') }],
    ['02 6162', undefined],
    ['', undefined],
  ])('is or is not the message %s', (message, expected) => {
    expect(subscriptionInMessage(hex(message))).toEqual(expected)
  })
})

describe('mutated bytes', () => {
  /** Whether bytes were parsed; false when they were refused in the one way there is, and anything else fails the test. */
  function parses(parse: () => unknown): boolean {
    try {
      parse()
      return true
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedError)
      return false
    }
  }

  const ready = renderReady({ 'Socket-Type': 'PUSH', Identity: '' })
  const stream = Buffer.concat([
    ready,
    renderCommand('SUBSCRIBE', latin1('a')),
    ...renderMessages([latin1('a message'), Buffer.alloc(300, 'b'), latin1('\x01')]),
  ])

  /** Everything that is done with a stream of frames. */
  function readAll(bytes: Buffer): void {
    for (const { body, command } of parseFrames([bytes], { maxFrame: 65_536 })) {
      if (!command) subscriptionInMessage(body)
      else {
        const parsed = parseCommand(body)
        if (parsed.name === 'READY') parseReady(parsed.data)
        if (parsed.name === 'PING') renderPong(parsed.data)
        if (parsed.name === 'ERROR') parseError(parsed.data)
      }
    }
  }

  it('of frames are parsed or refused as malformed, nothing else', () => {
    let refused = 0
    fc.assert(
      fc.property(mutations, (changes) => {
        if (!parses(() => readAll(mutate(stream, changes)))) refused++
      }),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(1000)
  })

  it('of frames are refused by the same frame wherever reads cut them', () => {
    const outcome = (reads: readonly Buffer[]) => {
      const frames: Frame[] = []
      const parser = new FrameParser((frame) => frames.push(frame), { maxFrame: 65_536 })
      const parsed = parses(() => {
        for (const read of reads) parser.push(read)
      })
      return { frames, parsed }
    }
    fc.assert(
      fc.property(mutations, fc.array(fc.double({ min: 0, max: 1, noNaN: true })), (changes, cuts) => {
        const bytes = mutate(stream, changes)
        expect(outcome(cut(bytes, cuts))).toEqual(outcome([bytes]))
      }),
      { numRuns: 1000 },
    )
  })

  it('of a greeting are parsed or refused as malformed, nothing else', () => {
    let refused = 0
    fc.assert(
      fc.property(mutations, (changes) => {
        if (!parses(() => parseGreeting(mutate(GREETING, changes)))) refused++
      }),
      { numRuns: 1000 },
    )
    expect(refused).toBeGreaterThan(300)
  })
})

describe('a large body', () => {
  const pattern = (size: number) => Buffer.from(Uint8Array.from({ length: size }, (_, n) => (n * 7 + size) % 251))
  const bounds = { maxFrame: 200_000, cutTo: 100_000 }

  it('is read into its place, except for what comes with its head', () => {
    const stream = Buffer.concat(renderMessages([pattern(150_000), pattern(10), pattern(90_000)]))
    const { frames, direct } = parseInPlace(stream, [64 * 1024], bounds)
    expect(frames.map(({ body }) => body)).toEqual([pattern(150_000), pattern(10), pattern(90_000)])
    expect(direct).toBeGreaterThan(100_000)
  })

  it('is the same in any reads, and so is what follows', () => {
    const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 10_000, max: 300_000 }))
    const reads = fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(fc.array(size, { maxLength: 6 }), reads, (bodies, sizes) => {
        const stream = Buffer.concat(renderMessages(bodies.map(pattern)))
        fc.pre(stream.length / Math.max(...sizes) < 2000)
        const { frames } = parseInPlace(stream, sizes, bounds)
        expect(frames.map((frame) => frame.size)).toEqual(bodies)
        for (const [n, { body }] of frames.entries()) {
          const whole = pattern(bodies[n] as number)
          expect(body.equals(body.length === whole.length ? whole : whole.subarray(0, bounds.cutTo))).toBe(true)
        }
      }),
      { numRuns: 50 },
    )
  })
})
