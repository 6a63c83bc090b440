import { once } from 'node:events'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { Context, Dealer } from 'zeromq'
import { describeError, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { TemporaryDirectory } from '../runtime/temporary-directory.ts'
import { MalformedError } from '../wire/malformed.ts'
import { GREETING, type Mechanism, parseGreeting, renderGreeting } from '../wire/zmtp/greeting.ts'
import { Authenticator, curveKey } from './authenticator.ts'
import type { ClusterAddress } from './cluster-address.ts'
import type { KeyPair } from './key-pair.ts'
import type { NodeConnection } from './node-connection.ts'
import { type CurveOptions, HANDSHAKE_TIME, STREAM_OPTIONS } from './secure-stream.ts'

/** Connections that may be amid their handshake at once: what strangers can make us hold. */
const MOST_STRANGERS = 32
/** Nodes that may be connected at once; each takes a socket of libzmq's and a few descriptors. */
const MOST_NODES = 256

/**
 * Bytes that a node may send without a message coming out of libzmq, which collects the parts of a message, however many, until the last:
 * messages of ours have 64 KiB.
 */
const MOST_WITHOUT_MESSAGE = 4 * 1024 * 1024

/** Who may join, and how. */
export interface DoorSecurity {
  readonly keys: KeyPair
  /** The public keys of nodes. */
  readonly nodes: ReadonlySet<string>
}

/** Makes a node's connection of a socket that it is about to be connected by. */
export type Admit = (socket: Dealer, from: string) => NodeConnection

/**
 * Where nodes connect to. Strangers meet a socket of Node's, which takes but a few at a time and lets in nobody who does not greet as ZMTP
 * with the right security does; behind it, each connection gets a socket of libzmq's of its own, which does the rest.
 */
export class Door {
  /** Resolves when it can be connected to, with the port; rejects when it never will be. */
  readonly opened: Promise<number>
  readonly #security: DoorSecurity | undefined
  readonly #mechanism: Mechanism
  readonly #admit: Admit
  readonly #warning: ThrottledWarning
  readonly #logger: Logger
  readonly #server: Server
  readonly #directory = new TemporaryDirectory()
  readonly #context = new Context()
  readonly #authenticator: Authenticator
  readonly #connections = new Map<string, Guest>()
  #strangers = 0
  #count = 0
  #closing = false

  constructor(address: ClusterAddress, security: DoorSecurity | undefined, logger: Logger, admit: Admit) {
    this.#security = security
    this.#mechanism = security === undefined ? 'NULL' : 'CURVE'
    this.#admit = admit
    this.#warning = new ThrottledWarning(logger)
    this.#logger = logger
    this.#authenticator = new Authenticator(this.#context, (number, key) => this.#decide(number, key))
    this.#server = createServer({ noDelay: true }, (socket) => this.#greet(socket))
    this.opened = this.#open(address)
    this.opened.catch(() => {}) // not everybody waits for it
  }

  close(): void {
    this.#closing = true
    this.#server.close()
    for (const { socket } of this.#connections.values()) socket.destroy()
    this.#authenticator.close()
    this.#directory.remove()
  }

  async #open({ host, port }: ClusterAddress): Promise<number> {
    await this.#authenticator.start()
    this.#server.listen(port, host)
    await once(this.#server, 'listening')
    this.#server.on('error', (error) =>
      this.#logger.error?.(`mongrel2-fetch: the cluster's port failed: ${describeError(error)}`),
    )
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : port
  }

  /** Strangers get a greeting, and have to give one. */
  #greet(socket: Socket): void {
    const guest: Guest = {
      socket,
      from: `${socket.remoteAddress}:${socket.remotePort}`,
      refused: undefined,
      turnedAway: false,
    }
    socket.on('error', () => {}) // it is closed then
    if (this.#strangers >= MOST_STRANGERS) return this.#refuse(guest, `${MOST_STRANGERS} others are at the door`)
    if (this.#connections.size - this.#strangers >= MOST_NODES)
      return this.#refuse(guest, `there are ${MOST_NODES} nodes`)
    const number = String(++this.#count)
    this.#connections.set(number, guest)
    this.#strangers++
    const timer = setTimeout(() => this.#refuse(guest, 'its handshake takes too long'), HANDSHAKE_TIME)
    let stranger = true
    const known = () => {
      clearTimeout(timer)
      if (stranger) this.#strangers--
      stranger = false
    }
    socket.once('close', () => {
      if (stranger) this.#refuse(guest, 'it went away amid the handshake')
      known()
      this.#connections.delete(number)
    })
    let greeting: Buffer = Buffer.alloc(0)
    const read = (bytes: Buffer) => {
      greeting = Buffer.concat([greeting, bytes])
      try {
        if (parseGreeting(greeting, this.#mechanism) === undefined) return
      } catch (error) {
        return this.#refuse(guest, error instanceof MalformedError ? error.message : String(error))
      }
      socket.off('data', read)
      socket.pause()
      this.#connect(number, guest, greeting, known).catch((error: unknown) => this.#refuse(guest, describeError(error)))
    }
    socket.on('data', read)
    socket.write(renderGreeting(this.#mechanism))
  }

  /** Connects who has greeted to a socket of libzmq's, which greets as well. */
  async #connect(number: string, guest: Guest, greeting: Buffer, known: () => void): Promise<void> {
    const { socket, from } = guest
    const dealer = new Dealer({ ...STREAM_OPTIONS, ...this.#options(number), context: this.#context })
    const connection = this.#admit(dealer, from)
    const path = join(this.#directory.path, number)
    void connection.closed.then(() => socket.destroy())
    socket.once('close', () => connection.close('the connection ended'))
    connection.opened.then(known, () => {
      this.#refuse(guest, guest.refused ?? "its handshake failed: does it have this main node's public key?")
    })
    await dealer.bind(`ipc://${path}`)
    const inner = createConnection(path)
    inner.on('error', () => {}) // it is closed then
    inner.once('close', () => socket.destroy())
    socket.once('close', () => inner.destroy())
    let skip = GREETING.length
    inner.on('data', (bytes) => {
      const rest = bytes.subarray(skip)
      skip -= bytes.length - rest.length
      if (rest.length > 0 && !socket.write(rest)) inner.pause()
    })
    socket.on('drain', () => inner.resume())
    inner.write(greeting)
    let bytesRead = 0
    let withoutMessage = 0
    socket.on('data', ({ length }: Buffer) => {
      withoutMessage = connection.bytesRead === bytesRead ? withoutMessage + length : length
      bytesRead = connection.bytesRead
      if (withoutMessage > MOST_WITHOUT_MESSAGE) this.#refuse(guest, 'it sends a message that does not end')
    })
    socket.pipe(inner)
  }

  #options(number: string): CurveOptions {
    if (this.#security === undefined) return {}
    return { curveServer: true, curveSecretKey: curveKey(this.#security.keys.secretKey), zapDomain: number }
  }

  #decide(number: string, key: string): boolean {
    if (this.#security?.nodes.has(key) === true) return true
    const guest = this.#connections.get(number)
    if (guest !== undefined) guest.refused = `its public key is not among those of nodes: ${key}`
    return false
  }

  #refuse(guest: Guest, reason: string): void {
    const { socket, from, turnedAway } = guest
    socket.destroy()
    if (turnedAway || this.#closing) return
    guest.turnedAway = true
    this.#warning.say(() => `mongrel2-fetch refused ${from} at the cluster's port: ${reason}`)
  }
}

/** Who has come to the door. */
interface Guest {
  readonly socket: Socket
  readonly from: string
  /** Why libzmq was told to turn it away. */
  refused: string | undefined
  turnedAway: boolean
}
