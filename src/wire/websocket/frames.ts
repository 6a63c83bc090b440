import { isUtf8 } from 'node:buffer'

/** Kinds of frames (RFC 6455, section 5.2). */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const

/** Close codes (RFC 6455, section 7.4.1). */
export const CLOSE_CODE = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  /** Never sent: the client's close frame had no code. */
  noStatus: 1005,
  /** Never sent: there was no close frame. */
  abnormal: 1006,
  invalidPayload: 1007,
  policyViolation: 1008,
  tooBig: 1009,
  internalError: 1011,
  /** Registered with IANA since. */
  tryAgainLater: 1013,
} as const

/** Bytes that a control frame's payload may have. */
export const MOST_CONTROL_BYTES = 125
/** Bytes that the reason in a close frame may have, after the two of the code. */
export const MOST_REASON_BYTES = MOST_CONTROL_BYTES - 2

/** Bits of a frame's first byte. `rsv1`, one of the reserved bits, is the one of permessage-deflate. */
export const FLAGS = { fin: 0x80, reserved: 0x70, rsv1: 0x40, opcode: 0x0f } as const
/** Payloads longer than 125 bytes have a length of 16 bits, and longer ones than that can express one of 64. */
export const LENGTH_16 = 126
export const LENGTH_64 = 127
const MOST_16 = 0xffff

/** Reads Mongrel2's header FLAGS, a frame's first byte such as `0x81`; 0 for another text. */
export function parseFlags(text: string): number {
  return /^0x[0-9a-f]{1,2}$/i.test(text) ? Number(text) : 0
}

/** Renders a message or a control frame as one unmasked frame. `compressed`: whether by permessage-deflate. */
export function renderFrame(opcode: number, payload: Uint8Array, compressed = false): Buffer {
  const { length } = payload
  const lengthBytes = length < LENGTH_16 ? 0 : length <= MOST_16 ? 2 : 8
  const frame = Buffer.allocUnsafe(2 + lengthBytes + length)
  frame[0] = FLAGS.fin | (compressed ? FLAGS.rsv1 : 0) | opcode
  frame[1] = lengthBytes === 0 ? length : lengthBytes === 2 ? LENGTH_16 : LENGTH_64
  if (lengthBytes === 2) frame.writeUInt16BE(length, 2)
  else if (lengthBytes === 8) frame.writeBigUInt64BE(BigInt(length), 2)
  frame.set(payload, 2 + lengthBytes)
  return frame
}

/** Bytes of a probe's payload. */
const PROBE_BYTES = 6

/** A ping whose pong shows that a client has read everything before it. One probe serves all clients of a turn. */
export class Probe {
  readonly number: number
  readonly frame: Buffer

  constructor(number: number) {
    this.number = number
    const payload = Buffer.alloc(PROBE_BYTES)
    payload.writeUIntBE(number, 0, PROBE_BYTES)
    this.frame = renderFrame(OPCODE.ping, payload)
  }

  /** The number in a pong's payload; undefined for another payload. */
  static numberIn(payload: Buffer): number | undefined {
    return payload.length === PROBE_BYTES ? payload.readUIntBE(0, PROBE_BYTES) : undefined
  }
}

/** The content of a close frame. */
export interface CloseStatus {
  /** 1005 for an empty frame. */
  readonly code: number
  readonly reason: string
}

/** Whether a close frame may have a code (RFC 6455, section 7.4, and IANA's registry). */
export function isCloseCode(code: number): boolean {
  if (code >= 3000) return code <= 4999
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
}

/** Reads a close frame's payload. Throws WebSocketFault 1002 for an incomplete or invalid code, 1007 for a reason that is not UTF-8. */
export function parseClosePayload(payload: Buffer): CloseStatus {
  if (payload.length === 0) return { code: CLOSE_CODE.noStatus, reason: '' }
  if (payload.length === 1) throw protocolError('a close frame with half a code')
  const code = payload.readUInt16BE(0)
  if (!isCloseCode(code)) throw protocolError(`a close frame with the code ${code}`)
  const reason = payload.subarray(2)
  if (!isUtf8(reason)) throw new WebSocketFault(CLOSE_CODE.invalidPayload, 'a reason that is not UTF-8')
  return { code, reason: reason.toString() }
}

/** Renders a close frame, without a payload for 1005. The reason may have 123 bytes of UTF-8. */
export function renderClose({ code, reason }: CloseStatus): Buffer {
  if (code === CLOSE_CODE.noStatus) return renderFrame(OPCODE.close, Buffer.alloc(0))
  const payload = Buffer.from(`\0\0${reason}`)
  payload.writeUInt16BE(code, 0)
  return renderFrame(OPCODE.close, payload)
}

/** Ends a WebSocket whose client broke the protocol or a limit. */
export class WebSocketFault extends Error {
  /** The close code that the client gets. */
  readonly code: number

  /** @param message The reason that the client gets: at most 123 bytes of UTF-8. */
  constructor(code: number, message: string) {
    super(message)
    this.name = 'WebSocketFault'
    this.code = code
  }
}

/** The fault of a client that broke the protocol. */
export function protocolError(reason: string): WebSocketFault {
  return new WebSocketFault(CLOSE_CODE.protocolError, reason)
}
