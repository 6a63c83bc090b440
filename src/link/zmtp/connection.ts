import { connect, type IpcNetConnectOpts, type Socket, type TcpNetConnectOpts } from 'node:net'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { MalformedError, malformed } from '../../wire/malformed.ts'
import {
  type Command,
  parseCommand,
  parseError,
  parseReady,
  renderError,
  renderPing,
  renderPong,
  renderReady,
} from '../../wire/zmtp/command.ts'
import { type Frame, type FrameBounds, FrameParser } from '../../wire/zmtp/frame.ts'
import { GREETING, parseGreeting, ZMTP_3_1 } from '../../wire/zmtp/greeting.ts'
import type { Report } from '../transport.ts'

/** Bytes of a read, as in Node. */
const READ_SIZE = 64 * 1024
/** Milliseconds for a peer from accepting to READY. */
const HANDSHAKE_TIMEOUT = 5000
/** Milliseconds between two PINGs, which detect a peer whose machine or network has failed silently. */
const HEARTBEAT_INTERVAL = 10_000
/** Intervals of silence that end a connection. Counted by the timer, not the clock: this process may have been suspended. */
const SILENT_INTERVALS = 3
/**
 * Milliseconds of silence after which Mongrel2's libzmq closes the connection; without it, it would deal messages to a dead connection
 * for a quarter of an hour. Longer than our own timeout, since this process may be suspended for a while.
 */
export const TIME_TO_LIVE = 60_000
/** The same in a PING's unit, tenths of a second. */
const PING_TTL = TIME_TO_LIVE / 100
const PING = renderPing(PING_TTL)
/** Bytes of the number in a PING of `answer`. */
const CONTEXT = 4

/** The behaviour of one socket type on a connection. */
interface Role {
  readonly socketType: string
  /** The socket types that it can talk to. */
  readonly peers: readonly string[]
  /** Called for each part of a message. Parts are not collected, which bounds memory. Must not throw. */
  receive(part: Buffer): void
  /** Bounds of a part's length. */
  readonly bounds: FrameBounds
  /** Called for commands other than the connection's own. Must not throw. */
  command?(command: Command): void
}

/** A ZMTP connection over tcp or ipc, without security (RFC 37; also with peers of RFC 23). */
export class ZmtpConnection {
  /** Resolves when the handshake is done; rejects when it fails. */
  readonly opened: Deferred<void> = deferred()
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>
  readonly #role: Role
  readonly #identity: string
  readonly #report: Report
  readonly #socket: Socket
  readonly #frames: FrameParser
  /** Reused for each read, since the parser copies; only the rest of a large body is read into its place. */
  readonly #buffer = Buffer.allocUnsafeSlow(READ_SIZE)
  #greeting: Buffer | undefined = Buffer.alloc(0)
  /** Whether the peer knows PING, which came with ZMTP 3.1. For another only TCP keep-alive detects its end. */
  #knowsPing = false
  #ready = false
  /** Whether we have ended our side. */
  #ending = false
  #silent = 0
  /** The number of the last PING of `answer`. */
  #questions = 0
  #answer: Deferred<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(spec: string, identity: string, role: Role, report: Report) {
    this.#role = role
    this.#frames = new FrameParser((frame) => this.#take(frame), role.bounds)
    this.#identity = identity
    this.#report = report
    const onread = {
      buffer: () => this.#frames.place ?? this.#buffer,
      callback: (size: number, space: Uint8Array) => this.#read(size, space),
    }
    this.#socket = connect({ ...addressOf(spec), onread })
    this.#socket.once('connect', () => {
      this.#socket.write(GREETING)
      this.#timer = setTimeout(() => setImmediate(() => this.#handshakeTimedOut()), HANDSHAKE_TIMEOUT).unref()
    })
    // Not reported: a network error only means that there is no Mongrel2 (any more).
    this.#socket.on('error', (error) => this.opened.reject(error))
    this.closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        clearTimeout(this.#timer)
        this.opened.reject(new Mongrel2Error('closed', 'the connection ended'))
        resolve()
      })
    })
  }

  /** Bytes that the system has not taken yet. */
  get waitingBytes(): number {
    return this.#socket.writableLength
  }

  /** Writes pieces, in one system call if possible. `written` is called when they have been taken, or never will be. */
  write(pieces: readonly Buffer[], written?: () => void): void {
    if (this.#ending || this.#socket.destroyed) return
    if (pieces.length > 1) this.#socket.cork()
    for (const piece of pieces) this.#socket.write(piece, written)
    if (pieces.length > 1) this.#socket.uncork()
  }

  /** Asks the peer for a sign of life. Resolves with the answer to the last PING; never without one, or if the peer knows no PING. */
  async answer(): Promise<void> {
    await this.opened.promise
    this.#answer ??= deferred()
    if (this.#knowsPing) this.write([renderPing(PING_TTL, context(++this.#questions))])
    await this.#answer.promise
  }

  /** Ends our side once everything written has been taken, and reads until the peer ends its side, for `timeout` milliseconds at most. */
  end(timeout: number): void {
    if (this.#ending || this.#socket.destroyed) return
    if (!this.#ready) return this.destroy()
    this.#ending = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.destroy(), timeout).unref()
    this.#socket.end()
  }

  /** Ends both sides at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  #read(size: number, space: Uint8Array): boolean {
    this.#silent = 0
    try {
      if (space === this.#buffer) this.#receive(this.#buffer.subarray(0, size))
      else this.#frames.filled(size)
    } catch (error) {
      this.#fail(error)
    }
    return true
  }

  #receive(bytes: Buffer): void {
    if (this.#greeting === undefined) this.#frames.push(bytes)
    else this.#greet(Buffer.concat([this.#greeting, bytes]))
  }

  #greet(bytes: Buffer): void {
    this.#greeting = bytes
    const version = parseGreeting(bytes)
    if (version === undefined) return
    this.#greeting = undefined
    this.#knowsPing = version >= ZMTP_3_1
    this.write([renderReady({ 'Socket-Type': this.#role.socketType, Identity: this.#identity })])
    this.#frames.push(bytes.subarray(GREETING.length))
  }

  #take({ body, command }: Frame): void {
    if (this.#socket.destroyed) return
    if (command) return this.#obey(parseCommand(body))
    if (!this.#ready) throw new MalformedError('expected READY, got a message')
    this.#role.receive(body)
  }

  #obey(command: Command): void {
    if (command.name === 'ERROR') {
      throw new Mongrel2Error('closed', `the peer gave up: ${JSON.stringify(parseError(command.data))}`)
    }
    if (!this.#ready) this.#shakeHands(command)
    else if (command.name === 'PING') this.write([renderPong(command.data)])
    else if (command.name === 'PONG') this.#answered(command.data)
    else this.#role.command?.(command)
  }

  /** An older PONG may have arrived before the last PING was sent: ignore it. */
  #answered(pong: Buffer): void {
    if (!pong.equals(context(this.#questions))) return
    this.#answer?.resolve()
    this.#answer = undefined
  }

  #shakeHands({ name, data }: Command): void {
    if (name !== 'READY') throw malformed('READY', name)
    const peer = parseReady(data).get('socket-type') ?? ''
    const { socketType, peers } = this.#role
    if (!peers.includes(peer)) {
      this.write([renderError(`a ${socketType} cannot talk to a ${peer.slice(0, 20)}`)])
      throw new MalformedError(
        `expected a ${peers.join(' or ')} socket, got ${JSON.stringify(peer)}: ` +
          "are these the Handler's send_spec and recv_spec, in this order?",
      )
    }
    this.#ready = true
    clearTimeout(this.#timer)
    if (this.#knowsPing) this.#timer = setInterval(() => this.#beat(), HEARTBEAT_INTERVAL).unref()
    this.opened.resolve()
  }

  #beat(): void {
    if (this.#silent++ < SILENT_INTERVALS) return this.write([PING])
    const seconds = (SILENT_INTERVALS * HEARTBEAT_INTERVAL) / 1000
    this.#fail(new Mongrel2Error('timeout', `no sign of life within ${seconds} s`))
  }

  /** Called by `setImmediate`, after reading what arrived while this process was suspended. */
  #handshakeTimedOut(): void {
    if (this.#ready || this.#socket.destroyed) return
    this.#fail(new Mongrel2Error('timeout', `no ZMTP handshake within ${HANDSHAKE_TIMEOUT / 1000} s of connecting`))
  }

  #fail(error: unknown): void {
    if (this.#socket.destroyed) return
    this.opened.reject(error)
    this.#report(error)
    this.#socket.destroy()
  }
}

/** Milliseconds of silence until TCP keep-alive probes a peer, ten times in ten seconds: it detects the end of peers without PING. */
const KEEP_ALIVE_DELAY = 20_000

/** The options of `node:net` for a spec, `tcp://HOST:PORT` or `ipc://PATH`. */
export function addressOf(spec: string): IpcNetConnectOpts | TcpNetConnectOpts {
  if (spec.startsWith('ipc://')) return { path: spec.slice('ipc://'.length) }
  const colon = spec.lastIndexOf(':')
  const host = spec.slice('tcp://'.length, colon).replace(/^\[|\]$/g, '')
  const port = Number(spec.slice(colon + 1))
  return { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY }
}

function context(question: number): Buffer {
  const bytes = Buffer.alloc(CONTEXT)
  bytes.writeUInt32BE(question)
  return bytes
}
