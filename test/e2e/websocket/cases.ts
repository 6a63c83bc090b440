import { deflateRawSync } from 'node:zlib'
import { lacks } from '../../support/embedded.ts'
import { type ClientFrameParts, describePayload, clientFrame as frame } from '../../support/websocket-frames.ts'

/** What a client may send once its handshake was answered, and what comes back from a server that sends each message back. */
export interface WebSocketCase {
  readonly name: string
  readonly send: Uint8Array
  /** The frames that come back in their order, then `open` or `end`. */
  readonly expected: readonly string[]
  /** Whether permessage-deflate is agreed upon. */
  readonly deflate: boolean
  /** Why it is Mongrel2 and not us that answers. */
  readonly mongrel2: string | undefined
  /** What comes back from `ws` as a server, and why that is different. */
  readonly ws: { readonly expected: readonly string[]; readonly why: string } | undefined
}

export const TEXT = 1
export const BINARY = 2
const CONTINUATION = 0
const CLOSE = 8
const PING = 9
const PONG = 10

/** What both servers are told about messages. */
export const MAX_PAYLOAD = 1024 * 1024

function clientFrame(opcode: number, payload: string | Uint8Array | readonly number[] = '', parts?: ClientFrameParts) {
  return frame(opcode, typeof payload === 'string' ? payload : Uint8Array.from(payload), parts)
}

const part: ClientFrameParts = { fin: false }

function bytes(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => (at * 7) % 251))
}

function letters(length: number): Buffer {
  return Buffer.alloc(length, 'abcdefghijklmnopqrstuvwxyz')
}

/** A close frame's payload. */
function status(code: number, reason: string | Uint8Array | readonly number[] = ''): Buffer {
  const bytes = typeof reason === 'string' ? Buffer.from(reason) : Uint8Array.from(reason)
  return Buffer.concat([Buffer.from([code >> 8, code & 0xff]), bytes])
}

type More = Partial<Pick<WebSocketCase, 'mongrel2' | 'ws'>>

function row(name: string, send: Uint8Array | readonly Uint8Array[], expected: readonly string[], more: More = {}) {
  const all = send instanceof Uint8Array ? send : Buffer.concat(send)
  return { name, send: all, expected, deflate: false, mongrel2: undefined, ws: undefined, ...more }
}

/** A message that comes back. */
function echoed(name: string, opcode: number, payload: string | Uint8Array, parts?: ClientFrameParts): WebSocketCase {
  const kind = opcode === TEXT ? 'text' : 'binary'
  return row(name, clientFrame(opcode, payload, parts), [`${kind} ${describePayload(Buffer.from(payload))}`, 'open'])
}

/** What the client is told when it is failed with a code. */
const FAILED = (code: number) => [`close ${code}`, 'end']

/** What Mongrel2 does not let through: it ends the connection without a close frame. The embedded front sends one. */
function cut(name: string, send: Uint8Array | readonly Uint8Array[], why: string, code = 1002): WebSocketCase {
  return row(name, send, lacks('silent WebSocket failures') ? FAILED(code) : ['end'], {
    mongrel2: why,
    ws: { expected: FAILED(code), why: 'Mongrel2 ends the connection itself, without a close frame' },
  })
}

const LOST_RSV: WebSocketCase['ws'] = {
  expected: FAILED(1002),
  why: 'Mongrel2 tells the first byte of the first frame only: what the others have there is lost',
}

const lengths: WebSocketCase[] = [
  ...[0, 1, 125, 126, 127, 65_535, 65_536, 300_000].flatMap((length) => [
    echoed(`a text of ${length} bytes`, TEXT, letters(length)),
    echoed(`${length} bytes`, BINARY, bytes(length)),
  ]),
  echoed('a length of 5 in 16 bits', TEXT, 'short', { lengthBytes: 2 }),
  echoed('a length of 5 in 64 bits', TEXT, 'short', { lengthBytes: 8 }),
  echoed('a message as long as may be', BINARY, bytes(MAX_PAYLOAD)),
  row('a byte more than may be', clientFrame(BINARY, bytes(MAX_PAYLOAD + 1)), FAILED(1009)),
  row('a character more than may be', clientFrame(TEXT, letters(MAX_PAYLOAD + 1)), FAILED(1009)),
  cut('a length of 2^63', clientFrame(BINARY, 'x', { length: 1n << 63n }), 'a length has 63 bits', 1009),
  cut('a length of 2^31', clientFrame(BINARY, 'x', { length: 1n << 31n }), 'it keeps a length in an int', 1009),
]

const bits: WebSocketCase[] = [
  ...[0x40, 0x20, 0x10, 0x70].flatMap((rsv) =>
    [TEXT, BINARY, CLOSE, PING, PONG].map((opcode) =>
      row(`the reserved bits ${rsv.toString(16)} in a frame of the kind ${opcode}`, clientFrame(opcode, '', { rsv }), [
        ...FAILED(1002),
      ]),
    ),
  ),
  ...[3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf].map((opcode) =>
    row(`a frame of the kind ${opcode}`, clientFrame(opcode, 'x'), FAILED(1002)),
  ),
  ...[TEXT, BINARY, CLOSE, PING, PONG].map((opcode) =>
    cut(
      `a frame of the kind ${opcode} that is not masked`,
      clientFrame(opcode, '', { masked: false }),
      'it asks for a mask',
    ),
  ),
  echoed('a mask of zeros', TEXT, 'plain to see', { key: [0, 0, 0, 0] }),
  echoed('a mask of ones', TEXT, 'turned around', { key: [255, 255, 255, 255] }),
]

const fragments: WebSocketCase[] = [
  row('two fragments', [clientFrame(TEXT, 'one ', part), clientFrame(CONTINUATION, 'two')], ['text "one two"', 'open']),
  row(
    'three fragments',
    [clientFrame(BINARY, '1', part), clientFrame(CONTINUATION, '2', part), clientFrame(CONTINUATION, '3')],
    ['binary "123"', 'open'],
  ),
  row('fragments of no bytes', [clientFrame(TEXT, '', part), clientFrame(CONTINUATION)], ['text ""', 'open']),
  row('an empty fragment first', [clientFrame(TEXT, '', part), clientFrame(CONTINUATION, 'x')], ['text "x"', 'open']),
  row('an empty fragment last', [clientFrame(TEXT, 'x', part), clientFrame(CONTINUATION)], ['text "x"', 'open']),
  row(
    'a thousand fragments',
    [
      clientFrame(TEXT, 'a', part),
      ...Array(998).fill(clientFrame(CONTINUATION, 'a', part)),
      clientFrame(CONTINUATION, 'a'),
    ],
    [`text ${describePayload(Buffer.alloc(1000, 'a'))}`, 'open'],
  ),
  row(
    'a ping between fragments',
    [clientFrame(TEXT, 'a', part), clientFrame(PING, 'now'), clientFrame(CONTINUATION, 'b')],
    ['pong "now"', 'text "ab"', 'open'],
  ),
  row(
    'a pong between fragments',
    [clientFrame(TEXT, 'a', part), clientFrame(PONG, 'now'), clientFrame(CONTINUATION, 'b')],
    ['text "ab"', 'open'],
  ),
  row(
    'a close between fragments',
    [clientFrame(TEXT, 'a', part), clientFrame(CLOSE, status(1000)), clientFrame(CONTINUATION, 'b')],
    ['close 1000 ""', 'end'],
  ),
  row(
    'fragments, then another message',
    [clientFrame(TEXT, 'a', part), clientFrame(CONTINUATION, 'b'), clientFrame(BINARY, 'c')],
    ['text "ab"', 'binary "c"', 'open'],
  ),
  row(
    'a character in two fragments',
    [clientFrame(TEXT, [0xc3], part), clientFrame(CONTINUATION, [0xbc])],
    [`text ${describePayload(Buffer.from('ü'))}`, 'open'],
  ),
  row(
    'half a character in the last fragment',
    [clientFrame(TEXT, 'a', part), clientFrame(CONTINUATION, [0xc3])],
    FAILED(1007),
  ),
  row(
    'fragments of more than may be',
    [clientFrame(BINARY, bytes(MAX_PAYLOAD), part), clientFrame(CONTINUATION, 'x')],
    FAILED(1009),
  ),
  cut('a continuation of nothing', clientFrame(CONTINUATION, 'x'), 'there is nothing to continue'),
  cut('a fragment that continues nothing', clientFrame(CONTINUATION, 'x', part), 'there is nothing to continue'),
  cut(
    'a continuation after a whole message',
    [clientFrame(TEXT, 'whole', { fin: true }), clientFrame(CONTINUATION, 'x')].slice(1),
    'there is nothing to continue',
  ),
  cut('a message amid fragments', [clientFrame(TEXT, 'a', part), clientFrame(TEXT, 'b')], 'the first is not complete'),
  row(
    'a reserved bit in a continuation',
    [clientFrame(TEXT, 'a', part), clientFrame(CONTINUATION, 'b', { rsv: 0x20 })],
    ['text "ab"', 'open'],
    { ws: LOST_RSV },
  ),
  row(
    'a reserved bit in the first fragment',
    [clientFrame(TEXT, 'a', { fin: false, rsv: 0x20 }), clientFrame(CONTINUATION, 'b')],
    FAILED(1002),
  ),
  row('a frame of the kind 3 in fragments', [clientFrame(3, 'a', part), clientFrame(CONTINUATION, 'b')], FAILED(1002)),
]

const control: WebSocketCase[] = [
  row('a ping', clientFrame(PING), ['pong ""', 'open']),
  row('a ping of 125 bytes', clientFrame(PING, bytes(125)), [`pong ${describePayload(bytes(125))}`, 'open']),
  row(
    'pings and messages',
    [clientFrame(PING, '1'), clientFrame(TEXT, '2'), clientFrame(PING, '3'), clientFrame(BINARY, '4')],
    ['pong "1"', 'text "2"', 'pong "3"', 'binary "4"', 'open'],
  ),
  row('a pong that nobody asked for', clientFrame(PONG, 'here'), ['open']),
  row('a pong of no bytes', clientFrame(PONG), ['open']),
  ...[CLOSE, PING, PONG].flatMap((opcode) => [
    cut(
      `126 bytes in a frame of the kind ${opcode}`,
      clientFrame(opcode, status(1000, letters(124))),
      'control frames are short',
    ),
    cut(
      `a short frame of the kind ${opcode} with a long length`,
      clientFrame(opcode, status(1000), { lengthBytes: 2 }),
      'control frames are short',
    ),
    cut(
      `a part of a frame of the kind ${opcode}`,
      clientFrame(opcode, status(1000), part),
      'control frames have no parts',
    ),
  ]),
]

const closing: WebSocketCase[] = [
  row('a close that says nothing', clientFrame(CLOSE), ['close', 'end']),
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999].map((code) =>
    row(`a close with ${code}`, clientFrame(CLOSE, status(code, 'why')), [`close ${code} "why"`, 'end']),
  ),
  row('a close with the longest reason', clientFrame(CLOSE, status(1000, letters(123))), [
    `close 1000 ${describePayload(letters(123))}`,
    'end',
  ]),
  row('a close with half a code', clientFrame(CLOSE, [3]), FAILED(1002)),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code) =>
    row(`a close with ${code}`, clientFrame(CLOSE, status(code)), FAILED(1002)),
  ),
  row('a reason that is not UTF-8', clientFrame(CLOSE, status(1000, [0xff])), FAILED(1007)),
  row('half a character in a reason', clientFrame(CLOSE, status(1000, [0x61, 0xc3])), FAILED(1007)),
  row(
    'messages and a ping behind a close',
    [clientFrame(CLOSE, status(1000)), clientFrame(TEXT, 'late'), clientFrame(PING, 'late')],
    ['close 1000 ""', 'end'],
  ),
  row('two closes', [clientFrame(CLOSE, status(1000)), clientFrame(CLOSE, status(1001))], ['close 1000 ""', 'end']),
  row(
    'a message before a close',
    [clientFrame(TEXT, 'last'), clientFrame(CLOSE, status(1000))],
    ['text "last"', 'close 1000 ""', 'end'],
  ),
  row('what is wrong twice', [clientFrame(3), clientFrame(TEXT, [0xff])], FAILED(1002)),
]

const utf8: WebSocketCase[] = [
  ...['ü', '€', '😀', '\0', '\ufeffx', '\uffff', '\u{10ffff}', 'κόσμε'].map((text) =>
    echoed(`the text ${JSON.stringify(text)}`, TEXT, text),
  ),
  ...(
    [
      ['a byte of the middle of a character', [0x80]],
      ['a character written too long', [0xc0, 0xaf]],
      ['one of three bytes written too long', [0xe0, 0x80, 0xaf]],
      ['half of a surrogate pair', [0xed, 0xa0, 0x80]],
      ['more than U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
      ['five bytes', [0xf8, 0x88, 0x80, 0x80, 0x80]],
      ['half a character', [0x61, 0xe2, 0x82]],
      ['bytes that UTF-8 has not', [0xfe, 0xff]],
      ['Latin-1', [0x67, 0x72, 0xfc, 0xdf, 0x65]],
    ] as const
  ).map(([name, text]) => row(`a text with ${name}`, clientFrame(TEXT, Uint8Array.from(text)), FAILED(1007))),
  echoed('bytes that are no text', BINARY, Uint8Array.from([0xff, 0xfe, 0x80])),
]

/** A message as permessage-deflate has it: the end of the flush is left out. */
function deflated(payload: string | Uint8Array): Buffer {
  // An empty block that is not the last stands for the flush: its last four bytes are the ones left out.
  const stream = deflateRawSync(payload, { finishFlush: 2 })
  return stream.subarray(0, -4)
}

const RSV1: ClientFrameParts = { rsv: 0x40 }
const RSV1_PART: ClientFrameParts = { rsv: 0x40, fin: false }

const compressed: WebSocketCase[] = [
  row('a compressed text', clientFrame(TEXT, deflated('hello'), RSV1), ['text "hello"', 'open']),
  row('a compressed text of no bytes', clientFrame(TEXT, deflated(''), RSV1), ['text ""', 'open']),
  row('compressed bytes', clientFrame(BINARY, deflated(bytes(700)), RSV1), [
    `binary ${describePayload(bytes(700))}`,
    'open',
  ]),
  row(
    'a compressed message in fragments',
    [
      clientFrame(TEXT, deflated('in parts').subarray(0, 3), RSV1_PART),
      clientFrame(CONTINUATION, deflated('in parts').subarray(3)),
    ],
    ['text "in parts"', 'open'],
  ),
  row('a message that is not compressed', clientFrame(TEXT, 'as it is'), ['text "as it is"', 'open']),
  row(
    'compressed messages, plain ones and pings',
    [
      clientFrame(TEXT, deflated('1'), RSV1),
      clientFrame(TEXT, '2'),
      clientFrame(PING, '3'),
      clientFrame(TEXT, deflated('4'), RSV1),
    ],
    ['text "1"', 'text "2"', 'pong "3"', 'text "4"', 'open'],
  ),
  row('a message that cannot be decompressed', clientFrame(TEXT, [0xff, 0xff, 0xff], RSV1), FAILED(1007)),
  row('a compressed text that is not UTF-8', clientFrame(TEXT, deflated(Uint8Array.from([0xff])), RSV1), FAILED(1007)),
  row('a bomb', clientFrame(BINARY, deflated(Buffer.alloc(50 * MAX_PAYLOAD)), RSV1), FAILED(1009)),
  row('a compressed message as long as may be', clientFrame(BINARY, deflated(Buffer.alloc(MAX_PAYLOAD)), RSV1), [
    `binary ${describePayload(Buffer.alloc(MAX_PAYLOAD))}`,
    'open',
  ]),
  ...[CLOSE, PING, PONG].map((opcode) =>
    row(`a compressed frame of the kind ${opcode}`, clientFrame(opcode, '', RSV1), FAILED(1002)),
  ),
  row(
    'the bit of compression in a continuation',
    [clientFrame(TEXT, 'a', part), clientFrame(CONTINUATION, 'b', RSV1)],
    ['text "ab"', 'open'],
    { ws: LOST_RSV },
  ),
  row('a reserved bit beside that of compression', clientFrame(TEXT, deflated('x'), { rsv: 0x60 }), FAILED(1002)),
].map((entry) => ({ ...entry, deflate: true }))

/** RFC 6455, sections 5 to 8, and RFC 7692, section 7, one row for each case. */
export const CASES: readonly WebSocketCase[] = [
  ...lengths,
  ...bits,
  ...fragments,
  ...control,
  ...closing,
  ...utf8,
  ...compressed,
]
