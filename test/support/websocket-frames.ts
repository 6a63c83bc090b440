import { createHash } from 'node:crypto'

/** What a client's frame has besides its payload; what is left out is as in a plain whole message. */
export interface ClientFrameParts {
  readonly fin?: boolean
  /** The reserved bits as they stand in the first byte: 0x40, 0x20, 0x10. */
  readonly rsv?: number
  /** Default: true, as clients have to. */
  readonly masked?: boolean
  /** Default: four bytes of which each is another. */
  readonly key?: readonly number[]
  /** How many bytes say the length: 0 is none but the second byte. Default: as few as can. */
  readonly lengthBytes?: 0 | 2 | 8
  /** What is said as the length, where that is not the payload's. */
  readonly length?: bigint
}

/** Renders a frame as a client sends it (RFC 6455, section 5.2), right or wrong. */
export function clientFrame(opcode: number, payload: string | Uint8Array = '', parts: ClientFrameParts = {}): Buffer {
  const bytes = Buffer.from(payload)
  const { fin = true, rsv = 0, masked = true, key = [0x12, 0x34, 0x56, 0x78], length = BigInt(bytes.length) } = parts
  const lengthBytes = parts.lengthBytes ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8)
  const head = Buffer.alloc(2 + lengthBytes)
  head[0] = (fin ? 0x80 : 0) | rsv | opcode
  head[1] = (masked ? 0x80 : 0) | (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(Number(length), 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(length, 2)
  if (!masked) return Buffer.concat([head, bytes])
  return Buffer.concat([head, Buffer.from(key), bytes.map((byte, at) => byte ^ (key[at % 4] ?? 0))])
}

/** A server's frame. */
export interface ServerFrame {
  readonly fin: boolean
  readonly rsv: number
  readonly opcode: number
  readonly payload: Buffer
}

/** Parses whole frames of a server; what is left over is part of one. */
export function parseServerFrames(bytes: Buffer): { frames: ServerFrame[]; rest: Buffer } {
  const frames: ServerFrame[] = []
  let rest = bytes
  for (;;) {
    const frame = firstFrame(rest)
    if (frame === undefined) return { frames, rest }
    frames.push(frame.frame)
    rest = rest.subarray(frame.end)
  }
}

function firstFrame(bytes: Buffer): { frame: ServerFrame; end: number } | undefined {
  const [first, second] = bytes
  if (first === undefined || second === undefined) return undefined
  if (second >= 0x80) throw new Error('a server does not mask')
  const start = second < 126 ? 2 : second === 126 ? 4 : 10
  if (bytes.length < start) return undefined
  const length = second < 126 ? second : second === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  if (bytes.length < start + length) return undefined
  const payload = bytes.subarray(start, start + length)
  return { frame: { fin: first >= 0x80, rsv: first & 0x70, opcode: first & 0x0f, payload }, end: start + length }
}

const NAMES = ['continuation', 'text', 'binary', '3', '4', '5', '6', '7', 'close', 'ping', 'pong']

/** A frame in a few words: `text "hi"`, `close 1000 "bye"`, `binary 70000 bytes, sha1 5d1f...`. */
export function describeFrame({ fin, rsv, opcode, payload }: ServerFrame): string {
  const name = `${fin ? '' : 'part of '}${rsv === 0 ? '' : `rsv ${rsv.toString(16)} `}${NAMES[opcode] ?? opcode}`
  if (opcode !== 8) return `${name} ${describePayload(payload)}`
  if (payload.length < 2) return payload.length === 0 ? name : `${name} of one byte`
  return `${name} ${payload.readUInt16BE(0)} ${describePayload(payload.subarray(2))}`
}

/** A payload in a few words. */
export function describePayload(payload: Uint8Array): string {
  const text = Buffer.from(payload).toString('latin1')
  if (payload.length <= 40 && /^[ -~]*$/.test(text)) return JSON.stringify(text)
  return `${payload.length} bytes, sha1 ${createHash('sha1').update(payload).digest('hex').slice(0, 8)}`
}
