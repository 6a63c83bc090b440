import { OPCODE, renderFrame } from '../wire/websocket/frames.ts'

const PAYLOAD_BYTES = 6

/** A ping that comes back when a client has read all before it: the same bytes for every client that is asked in a turn. */
export class Probe {
  readonly number: number
  readonly frame: Buffer

  constructor(number: number) {
    this.number = number
    const payload = Buffer.alloc(PAYLOAD_BYTES)
    payload.writeUIntBE(number, 0, PAYLOAD_BYTES)
    this.frame = renderFrame(OPCODE.ping, payload)
  }

  /** The number that a pong's payload says; undefined when it is none. */
  static numberIn(payload: Buffer): number | undefined {
    return payload.length === PAYLOAD_BYTES ? payload.readUIntBE(0, PAYLOAD_BYTES) : undefined
  }
}
