import { MalformedError } from '../../wire/malformed.ts'
import { type Codec, copyInto, type Incoming, joinedSize } from './codec.ts'
import { Variables } from './variables.ts'

const VERSION = 1
/** Bytes of a record's header (FCGI_HEADER_LEN). */
const HEADER = 8
/** Bytes of the records that end an answer. */
const END = HEADER + HEADER + 8
/** Bytes of a record's content, a multiple of 8 as the specification recommends. */
const MOST_CONTENT = 65_528
/** The id of records that are about no request (FCGI_NULL_REQUEST_ID). */
const MANAGEMENT = 0

const TYPE = {
  begin: 1,
  abort: 2,
  end: 3,
  params: 4,
  stdin: 5,
  stdout: 6,
  getValues: 9,
  getValuesResult: 10,
  unknown: 11,
} as const

const RESPONDER = 1
const KEEP_CONN = 1
/** How a request ended (`protocolStatus`). */
const STATUS = { complete: 0, cantMultiplex: 1, unknownRole: 3 } as const

const NOTHING = Buffer.alloc(0)

/** The request that a connection has. */
interface ActiveRequest {
  readonly id: number
  /** What may come next; `held`: the variables are complete, but only the first record of stdin tells whether there is a body. */
  phase: 'params' | 'held' | 'stdin' | 'complete'
  params: Buffer
  /** Empty until `params` are complete. */
  readonly variables: Variables
  length: number | undefined
  /** Bytes of stdin that have come. */
  received: number
}

/** FastCGI 1.0 (https://fastcgi-archives.github.io/FastCGI_Specification.html) in the role of a responder, without multiplexing. */
export class FastCgiCodec implements Codec {
  readonly #most: number
  readonly #values: readonly (readonly [name: string, value: string])[]
  /** An incomplete record; of stdin, its header. */
  #pending: Buffer = NOTHING
  /** Bytes of a record of stdin that are missing, and of padding after it. */
  #content = 0
  #padding = 0
  #active: ActiveRequest | undefined
  /** The `protocolStatus` of a malformed request. */
  #fault: number = STATUS.complete
  readonly beforeStatus = 'Status:'
  keepsAlive = false

  /**
   * @param most Bytes that a request's variables may have.
   * @param maxConnections What FCGI_GET_VALUES is answered.
   */
  constructor(most: number, maxConnections: number) {
    this.#most = most
    const count = String(maxConnections)
    this.#values = Object.entries({ FCGI_MAX_CONNS: count, FCGI_MAX_REQS: count, FCGI_MPXS_CONNS: '0' })
  }

  get partial(): boolean {
    const phase = this.#active?.phase
    return phase === undefined ? this.#pending.length > 0 : phase === 'params' || phase === 'held'
  }

  read(bytes: Buffer, take: (incoming: Incoming) => void): void {
    const all = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes])
    this.#pending = NOTHING
    let at = 0
    for (;;) {
      if (this.#content > 0) {
        const piece = all.subarray(at, at + this.#content)
        this.#content -= piece.length
        at += piece.length
        if (piece.length > 0) this.#readStdin(piece, take)
        if (this.#content > 0) return
      }
      const padding = Math.min(this.#padding, all.length - at)
      this.#padding -= padding
      at += padding
      if (at < all.length && all[at] !== VERSION) {
        throw new MalformedError(`expected version ${VERSION}, got ${all[at]}`)
      }
      if (all.length - at < HEADER) break
      const type = all[at + 1] as number
      const id = all.readUInt16BE(at + 2)
      const length = all.readUInt16BE(at + 4)
      const padded = all[at + 6] as number
      if (type === TYPE.stdin && id === this.#active?.id && length > 0) {
        this.#content = length
        this.#padding = padded
        at += HEADER
        continue
      }
      const end = at + HEADER + length
      if (all.length < end + padded) break
      const content = length === 0 ? NOTHING : all.subarray(at + HEADER, end)
      at = end + padded
      this.#readRecord(type, id, content, take)
    }
    if (at < all.length) this.#pending = all.subarray(at)
  }

  frame(head: string, pieces: readonly Buffer[], ended: boolean): readonly Buffer[] {
    if (this.#active === undefined) return []
    const { id } = this.#active
    if (ended) this.#active = undefined
    const size = joinedSize(head, pieces)
    if (size === undefined)
      return frameLarge(id, head === '' ? pieces : [Buffer.from(head, 'latin1'), ...pieces], ended)
    const framed = Buffer.allocUnsafe((size === 0 ? 0 : HEADER + size) + (ended ? END : 0))
    let at = 0
    if (size > 0) {
      writeHeader(framed, 0, TYPE.stdout, id, size)
      at = copyInto(framed, HEADER, head, pieces)
    }
    if (ended) writeEnd(framed, at, id)
    return framed.length === 0 ? [] : [framed]
  }

  renderFault(): Buffer {
    return this.#active === undefined ? NOTHING : renderEndRequest(this.#active.id, 1, this.#fault)
  }

  #readRecord(type: number, id: number, content: Buffer, take: (incoming: Incoming) => void): void {
    if (id === MANAGEMENT) return take({ type: 'reply', bytes: this.#answerManagement(type, content) })
    if (type === TYPE.begin) return this.#begin(id, content, take)
    // Records of a request that has ended, or was refused, may still come.
    if (this.#active === undefined || id !== this.#active.id) return
    if (type === TYPE.abort) return take({ type: 'abort' })
    if (type === TYPE.params) return this.#readParams(this.#active, content, take)
    if (type === TYPE.stdin) return this.#readStdin(content, take)
    throw new MalformedError(`expected a record of a request, got type ${type}`)
  }

  #answerManagement(type: number, content: Buffer): Buffer {
    if (type !== TYPE.getValues) return renderRecord(TYPE.unknown, MANAGEMENT, Buffer.of(type, 0, 0, 0, 0, 0, 0, 0))
    const names = new Set<string>()
    eachPair(content, (text, start, nameEnd) => names.add(text.slice(start, nameEnd)))
    const pairs = this.#values.filter(([name]) => names.has(name)).map(renderPair)
    return renderRecord(TYPE.getValuesResult, MANAGEMENT, Buffer.concat(pairs))
  }

  #begin(id: number, content: Buffer, take: (incoming: Incoming) => void): void {
    if (content.length !== 8) throw new MalformedError(`expected 8 bytes to begin a request, got ${content.length}`)
    if (this.#active?.id === id) throw new MalformedError(`request ${id} begins twice`)
    if (this.#active !== undefined) {
      return take({ type: 'reply', bytes: renderEndRequest(id, 0, STATUS.cantMultiplex) })
    }
    const role = content.readUInt16BE(0)
    this.keepsAlive = (content.readUInt8(2) & KEEP_CONN) !== 0
    this.#active = { id, phase: 'params', params: NOTHING, variables: new Variables(), length: undefined, received: 0 }
    if (role === RESPONDER) return
    this.#fault = STATUS.unknownRole
    throw new MalformedError(`expected the role ${RESPONDER}, a responder, got ${role}`)
  }

  #readParams(request: ActiveRequest, content: Buffer, take: (incoming: Incoming) => void): void {
    if (request.phase !== 'params') throw new MalformedError('variables come after their end')
    const { params } = request
    if (params.length + content.length > this.#most) {
      throw new MalformedError(`expected at most ${this.#most} bytes of variables, got more`)
    }
    if (content.length > 0) {
      request.params = params.length === 0 ? content : Buffer.concat([params, content])
      return
    }
    request.params = NOTHING
    const { variables } = request
    eachPair(params, (text, start, nameEnd, end) => variables.add(text, start, nameEnd, nameEnd, end))
    request.length = variables.contentLength
    request.phase = 'held'
    if (request.length !== undefined) take(this.#pass(request, request.length))
  }

  /** Passes the request on. */
  #pass(request: ActiveRequest, length: number | undefined): Incoming {
    request.phase = 'stdin'
    return { type: 'request', variables: request.variables, length }
  }

  /** Passes on the bytes that CONTENT_LENGTH allows before it throws. */
  #readStdin(content: Buffer, take: (incoming: Incoming) => void): void {
    const request = this.#active
    if (request === undefined) return // it has ended
    if (request.phase === 'held') take(this.#pass(request, content.length === 0 ? 0 : undefined))
    if (request.phase !== 'stdin') throw new MalformedError(`stdin comes in the phase ${request.phase}`)
    const length = request.length ?? Number.POSITIVE_INFINITY
    const left = length - request.received
    const body = content.length <= left ? content : content.subarray(0, left)
    request.received += content.length
    if (body.length > 0) take({ type: 'body', bytes: body })
    const ended = content.length === 0
    if (request.received > length || (ended && request.received < (request.length ?? 0))) {
      throw new MalformedError(`expected ${length} bytes of stdin, as CONTENT_LENGTH says, got ${request.received}`)
    }
    if (!ended) return
    request.phase = 'complete'
    take({ type: 'body end' })
  }
}

/**
 * Visits names and values, each pair after its two lengths: a byte, or four of which the first bit is set. Throws MalformedError.
 *
 * @param visit Gets a text, and in it the start of the name, the end of the name, where the value starts, and the end of the value.
 */
function eachPair(bytes: Buffer, visit: (text: string, start: number, nameEnd: number, end: number) => void): void {
  // Slicing one text is cheap, calls of the decoder are not.
  const text = bytes.toString('latin1')
  for (let at = 0; at < bytes.length; ) {
    const nameLength = lengthAt(bytes, at)
    at += sizeAt(bytes, at)
    const valueLength = lengthAt(bytes, at)
    at += sizeAt(bytes, at)
    const nameEnd = at + nameLength
    const valueEnd = nameEnd + valueLength
    if (valueEnd > bytes.length) throw new MalformedError('a variable is longer than its record')
    visit(text, at, nameEnd, valueEnd)
    at = valueEnd
  }
}

/** Bytes of a length: four if the first bit is set. */
function sizeAt(bytes: Buffer, at: number): 1 | 4 {
  return (bytes[at] ?? 0) < 128 ? 1 : 4
}

function lengthAt(bytes: Buffer, at: number): number {
  const size = sizeAt(bytes, at)
  if (at + size > bytes.length) throw new MalformedError('a variable has no value')
  return size === 1 ? (bytes[at] as number) : bytes.readUInt32BE(at) - 0x80000000
}

/** Renders a pair of texts that have less than 128 bytes. */
function renderPair([name, value]: readonly [name: string, value: string]): Buffer {
  return Buffer.concat([Buffer.of(name.length, value.length), Buffer.from(name + value)])
}

function renderHeader(type: number, id: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER)
  writeHeader(header, 0, type, id, length)
  return header
}

function writeHeader(to: Buffer, at: number, type: number, id: number, length: number): void {
  to[at] = VERSION
  to[at + 1] = type
  to[at + 2] = id >> 8
  to[at + 3] = id & 255
  to[at + 4] = length >> 8
  to[at + 5] = length & 255
  to[at + 6] = 0
  to[at + 7] = 0
}

function renderRecord(type: number, id: number, content: Buffer): Buffer {
  return Buffer.concat([renderHeader(type, id, content.length), content])
}

/** Frames pieces where they are, without a copy. */
function frameLarge(id: number, pieces: readonly Buffer[], ended: boolean): Buffer[] {
  const framed: Buffer[] = []
  for (const whole of pieces) {
    for (let at = 0; at < whole.length; at += MOST_CONTENT) {
      const piece = whole.subarray(at, at + MOST_CONTENT)
      framed.push(renderHeader(TYPE.stdout, id, piece.length), piece)
    }
  }
  if (!ended) return framed
  const end = Buffer.allocUnsafe(END)
  writeEnd(end, 0, id)
  framed.push(end)
  return framed
}

/** Writes the records that end a whole answer: an empty one of stdout, and that of the end with appStatus 0 and protocolStatus complete. */
function writeEnd(to: Buffer, at: number, id: number): void {
  writeHeader(to, at, TYPE.stdout, id, 0)
  writeHeader(to, at + HEADER, TYPE.end, id, 8)
  to.fill(0, at + HEADER + HEADER, at + END)
}

function renderEndRequest(id: number, appStatus: number, protocolStatus: number): Buffer {
  return renderRecord(TYPE.end, id, Buffer.of(0, 0, 0, appStatus, protocolStatus, 0, 0, 0))
}
