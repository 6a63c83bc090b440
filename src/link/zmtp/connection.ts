import { connect, type IpcNetConnectOpts, type Socket, type TcpNetConnectOpts } from 'node:net'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { MalformedError } from '../../wire/malformed.ts'
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
import { afterGreeting, GREETING, parseGreeting, type ZmtpVersion } from '../../wire/zmtp/greeting.ts'
import type { Report } from '../transport.ts'

/** What is read at once, in bytes: Node's own size for a read. */
const READ_SIZE = 64 * 1024
/** How long a peer may take from accepting to READY, in milliseconds. */
const HANDSHAKE_TIMEOUT = 5000
/** How often a peer is asked for a sign of life, in milliseconds: it finds one whose machine or network went away without a word. */
const HEARTBEAT_INTERVAL = 10_000
/**
 * Intervals that a peer may be silent for. Counted by the timer and not by the clock: when this process stood still, what came
 * meanwhile is read before the next.
 */
const SILENT_INTERVALS = 3

/**
 * Milliseconds of silence after which Mongrel2's libzmq gives us up: otherwise it deals messages to a connection whose end it was not told,
 * until the system gives that up after a quarter of an hour. Longer than our own patience, since this process may be stopped for a while.
 */
export const TIME_TO_LIVE = 60_000
/** The same as a PING says it, in tenths of a second. */
const PING_TTL = TIME_TO_LIVE / 100
const PING = renderPing(PING_TTL)
/** The bytes of a question's number. */
const CONTEXT = 4

/** What one socket type does on a connection. */
export interface Role {
  readonly socketType: string
  /** The socket types that it can talk to. */
  readonly peers: readonly string[]
  /** A part of a message came. Parts are not collected, so that a message of any number of them costs nothing. Must not throw. */
  receive(part: Buffer): void
  /** How long parts may be. Default: 1 GiB, and longer ones end the connection. */
  readonly bounds?: FrameBounds
  /** A command came that is not of the connection's own. Must not throw. */
  command?(command: Command): void
  /** Whether a peer that gives no sign of life is given up. Default: true; false where somebody else watches over it. */
  readonly heartbeats?: boolean
}

/** A ZMTP connection to a peer: from the greeting to its end, over tcp or ipc, without security (RFC 37; peers of RFC 23 too). */
export class ZmtpConnection {
  /** Settles when the handshake is done; rejects when it never will be. */
  readonly opened: Deferred<void> = deferred()
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  readonly #role: Role
  readonly #identity: string
  readonly #report: Report
  readonly #socket: Socket
  readonly #frames: FrameParser
  #greeting: Buffer | undefined = Buffer.alloc(0)
  #version: ZmtpVersion | undefined
  #ready = false
  /** Whether we have ended our side. */
  #ending = false
  #silent = 0
  /** How often `answer` was called: the number of its last PING. */
  #questions = 0
  #answer: Deferred<void> | undefined
  #peerIdentity = ''
  #timer: NodeJS.Timeout | undefined

  /**
   * @param peer Where to connect to, or a socket that was accepted.
   * @param report Told why it was closed, if that was neither our will nor the peer's.
   */
  constructor(peer: string | Socket, identity: string, role: Role, report: Report) {
    this.#role = role
    this.#frames = new FrameParser((frame) => this.#take(frame), role.bounds)
    this.#identity = identity
    this.#report = report
    if (typeof peer === 'string') {
      // What is read into is used again and again: the parser copies.
      const buffer = Buffer.allocUnsafeSlow(READ_SIZE)
      const onread = { buffer, callback: (size: number) => this.#read(buffer.subarray(0, size)) }
      this.#socket = connect({ ...addressOf(peer), onread })
      this.#socket.once('connect', () => this.#begin())
    } else {
      this.#socket = peer
      peer.on('data', (bytes: Buffer) => this.#read(bytes))
      this.#begin()
    }
    // Whatever goes wrong with the network says that there is no Mongrel2 (any more).
    this.#socket.on('error', (error) => this.opened.reject(error))
    this.closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        clearTimeout(this.#timer)
        this.opened.reject(new Mongrel2Error('closed', 'the connection ended'))
        resolve()
      })
    })
  }

  /** What the peer calls itself; empty before `opened`, or when it says nothing. */
  get peerIdentity(): string {
    return this.#peerIdentity
  }

  /** Bytes that were written and that the system has not taken. */
  get waitingBytes(): number {
    return this.#socket.writableLength
  }

  /**
   * Writes pieces, in one go where the system takes them.
   *
   * @param written Called when they have been taken, or never will be.
   */
  write(pieces: readonly Buffer[], written?: () => void): void {
    if (this.#ending || this.#socket.destroyed) return
    if (pieces.length > 1) this.#socket.cork()
    for (const piece of pieces) this.#socket.write(piece, written)
    if (pieces.length > 1) this.#socket.uncork()
  }

  /** Asks the peer for a sign of life. Resolves when it has answered the last question; never, if it does not or knows no PING. */
  async answer(): Promise<void> {
    await this.opened.promise
    this.#answer ??= deferred()
    if (this.#knowsPing) this.write([renderPing(PING_TTL, context(++this.#questions))])
    await this.#answer.promise
  }

  /**
   * Ends our side once all that was written has been taken, and reads on until the peer ends its own.
   *
   * @param timeout Milliseconds that this may take.
   */
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

  #begin(): void {
    this.#socket.write(GREETING)
    this.#timer = setTimeout(() => setImmediate(() => this.#handshakeTimedOut()), HANDSHAKE_TIMEOUT).unref()
  }

  #read(bytes: Buffer): boolean {
    this.#silent = 0
    try {
      if (this.#greeting === undefined) this.#frames.push(bytes)
      else this.#greet(Buffer.concat([this.#greeting, bytes]))
    } catch (error) {
      this.#fail(error)
    }
    return true
  }

  #greet(bytes: Buffer): void {
    this.#greeting = bytes
    this.#version = parseGreeting(bytes)
    if (this.#version === undefined) return
    this.#greeting = undefined
    this.write([renderReady({ 'Socket-Type': this.#role.socketType, Identity: this.#identity })])
    this.#frames.push(afterGreeting(bytes))
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

  /** What came before the question may still have waited to be read. */
  #answered(pong: Buffer): void {
    if (!pong.equals(context(this.#questions))) return
    this.#answer?.resolve()
    this.#answer = undefined
  }

  #shakeHands({ name, data }: Command): void {
    if (name !== 'READY') throw new MalformedError(`expected READY, got ${JSON.stringify(name)}`)
    const properties = parseReady(data)
    const peer = properties.get('socket-type') ?? ''
    const { socketType, peers } = this.#role
    if (!peers.includes(peer)) {
      this.write([renderError(`a ${socketType} cannot talk to a ${peer.slice(0, 20)}`)])
      throw new MalformedError(
        `expected a ${peers.join(' or ')} socket, got ${JSON.stringify(peer)}: ` +
          "are these the Handler's send_spec and recv_spec, in this order?",
      )
    }
    this.#ready = true
    this.#peerIdentity = properties.get('identity') ?? ''
    clearTimeout(this.#timer)
    if (this.#role.heartbeats !== false) this.#timer = setInterval(() => this.#beat(), HEARTBEAT_INTERVAL).unref()
    this.opened.resolve()
  }

  /** Peers of ZMTP 3.0 do not. */
  get #knowsPing(): boolean {
    const { major, minor } = this.#version ?? { major: 3, minor: 0 }
    return major > 3 || minor > 0
  }

  /** Where the peer knows no PING, the system's keep-alive has to do. */
  #beat(): void {
    if (!this.#knowsPing) return
    if (this.#silent++ < SILENT_INTERVALS) return this.write([PING])
    this.#fail(
      new Mongrel2Error('timeout', `no sign of life within ${(SILENT_INTERVALS * HEARTBEAT_INTERVAL) / 1000} s`),
    )
  }

  /** What came while this process stood still has been read by now. */
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

/**
 * Milliseconds of silence until the system asks a TCP peer whether it is there, ten times in as many seconds: what finds one of
 * ZMTP 3.0, which knows no PING, gone.
 */
const KEEP_ALIVE_DELAY = 20_000

/** Where and how `node:net` connects for a spec, `tcp://HOST:PORT` or `ipc://PATH`. */
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
