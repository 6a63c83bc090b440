import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  FLAGS,
  isCloseCode,
  OPCODE,
  parseClosePayload,
  parseFlags,
  renderClose,
  renderFrame,
} from '../../../src/wire/websocket/frames.ts'
import { parseServerFrames } from '../../support/websocket-frames.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('renderFrame', () => {
  /** Of RFC 6455, section 5.7, and RFC 7692, section 7.2.3.1. */
  const VECTORS: [what: string, frame: Buffer, expected: string][] = [
    ['an unmasked text', renderFrame(OPCODE.text, Buffer.from('Hello')), '810548656c6c6f'],
    ['a ping', renderFrame(OPCODE.ping, Buffer.from('Hello')), '890548656c6c6f'],
    ['a pong', renderFrame(OPCODE.pong, Buffer.from('Hello')), '8a0548656c6c6f'],
    ['a compressed text', renderFrame(OPCODE.text, Buffer.from('f248cdc9c90700', 'hex'), true), 'c107f248cdc9c90700'],
    ['nothing', renderFrame(OPCODE.binary, Buffer.alloc(0)), '8200'],
  ]

  it.each(VECTORS)('renders %s as the standard does', (_what, frame, expected) => {
    expect(hex(frame)).toBe(expected)
  })

  it.each([
    [125, '827d'],
    [126, '827e007e'],
    [256, '827e0100'],
    [65_535, '827effff'],
    [65_536, '827f0000000000010000'],
  ])('says the length of %i bytes in as few bits as can', (length, head) => {
    const frame = renderFrame(OPCODE.binary, Buffer.alloc(length, 'x'))
    expect(hex(frame.subarray(0, frame.length - length))).toBe(head)
    expect(frame.subarray(-length).equals(Buffer.alloc(length, 'x'))).toBe(true)
  })

  it('is read back, any number of frames behind each other', () => {
    const frame = fc.record({
      opcode: fc.constantFrom(...Object.values(OPCODE)),
      payload: fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(70_000).map((length) => new Uint8Array(length).fill(7)),
      ),
      compressed: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), (frames) => {
        const bytes = Buffer.concat(frames.map((one) => renderFrame(one.opcode, one.payload, one.compressed)))
        const parsed = parseServerFrames(bytes)
        expect(parsed.rest).toHaveLength(0)
        expect(parsed.frames.map(({ payload, ...rest }) => ({ ...rest, payload: hex(payload) }))).toEqual(
          frames.map(({ opcode, payload, compressed }) => ({
            fin: true,
            rsv: compressed ? 0x40 : 0,
            opcode,
            payload: hex(payload),
          })),
        )
      }),
    )
  })
})

describe('parseFlags', () => {
  it('reads every byte as Mongrel2 writes it', () => {
    for (let byte = 0; byte < 256; byte++) {
      const flags = parseFlags(`0x${byte.toString(16).toUpperCase()}`)
      expect({
        fin: (flags & FLAGS.fin) !== 0,
        rsv1: (flags & FLAGS.rsv1) !== 0,
        reserved: (flags & FLAGS.reserved) !== 0,
        opcode: flags & FLAGS.opcode,
      }).toEqual({
        fin: byte >= 128,
        rsv1: byte % 128 >= 64,
        reserved: byte % 128 >= 16,
        opcode: byte % 16,
      })
    }
  })

  it.each(['', '81', '0x', '0x181', '0xg1', ' 0x81', '0x81 '])('reads nothing in %j', (text) => {
    expect(parseFlags(text)).toBe(0)
  })
})

describe('A close payload', () => {
  const CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]

  it('has one of the codes that may be said', () => {
    const valid = Array.from({ length: 65_536 }, (_, code) => code).filter(isCloseCode)
    expect(valid).toEqual([...CODES, ...Array.from({ length: 2000 }, (_, at) => 3000 + at)])
  })

  it('is read back as it was rendered', () => {
    const code = fc.oneof(fc.constantFrom(...CODES), fc.integer({ min: 3000, max: 4999 }))
    const reason = fc.string({ unit: 'grapheme', maxLength: 123 }).filter((text) => Buffer.byteLength(text) <= 123)
    fc.assert(
      fc.property(code, reason, (code, reason) => {
        const [frame] = parseServerFrames(renderClose({ code, reason })).frames
        expect(frame).toMatchObject({ fin: true, rsv: 0, opcode: 8 })
        expect(parseClosePayload(frame?.payload ?? Buffer.alloc(0))).toEqual({ code, reason })
      }),
    )
  })

  it('that says nothing is 1005', () => {
    expect(hex(renderClose({ code: 1005, reason: '' }))).toBe('8800')
    expect(parseClosePayload(Buffer.alloc(0))).toEqual({ code: 1005, reason: '' })
  })

  it.each([
    ['half a code', '03', 1002],
    ['1005', '03ed', 1002],
    ['1006', '03ee', 1002],
    ['999', '03e7', 1002],
    ['5000', '1388', 1002],
    ['a reason that is not UTF-8', '03e8ff', 1007],
    ['half a character', '03e8c3', 1007],
  ])('with %s is refused', (_what, payload, code) => {
    expect(() => parseClosePayload(Buffer.from(payload, 'hex'))).toThrow(expect.objectContaining({ code }))
  })
})
