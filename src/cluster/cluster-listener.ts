import { once } from 'node:events'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Dealer } from 'zeromq'
import { describeError, type Logger, ThrottledWarning } from '../runtime/log.ts'
import { libzmq } from '../runtime/process/libzmq.ts'
import { TemporaryDirectory } from '../runtime/process/temporary-directory.ts'
import { MalformedError } from '../wire/malformed.ts'
import { GREETING, type Mechanism, parseGreeting, renderGreeting } from '../wire/zmtp/greeting.ts'
import type { ClusterAddress } from './cluster-address.ts'
import { curveKey, type KeyPair } from './key-pair.ts'
import type { NodeConnection } from './node-connection.ts'
import { HANDSHAKE_TIME, STREAM_OPTIONS } from './secure-stream.ts'

/** Peers in their handshake at once, which bounds the memory that unauthenticated peers can take. */
const MOST_UNAUTHENTICATED = 32
/** Nodes connected at once; each needs a socket of libzmq and some file descriptors. */
const MOST_NODES = 256
/** Bytes that a node may send without a complete message: libzmq collects all parts of one. Our messages have 64 KiB. */
const MOST_WITHOUT_MESSAGE = 4 * 1024 * 1024

/** The keys of the main node, and of the nodes that may join. */
export interface ClusterSecurity {
  readonly keys: KeyPair
  /** The public keys of nodes. */
  readonly nodes: ReadonlySet<string>
}

/** Makes a node's connection from a socket that is not connected yet. */
type Admit = (socket: Dealer, from: string) => NodeConnection

/**
 * Listens for nodes. A socket of Node's accepts a few unauthenticated peers at a time and refuses those without the expected ZMTP greeting; then
 * each peer gets a libzmq socket of its own, which authenticates it.
 */
export class ClusterListener {
  /** Resolves with the port when nodes can connect; rejects if that fails. */
  readonly opened: Promise<number>
  readonly #security: ClusterSecurity | undefined
  readonly #mechanism: Mechanism
  readonly #admit: Admit
  readonly #warning: ThrottledWarning
  readonly #logger: Logger
  readonly #server: Server
  readonly #directory = new TemporaryDirectory()
  readonly #context = new (libzmq().Context)()
  readonly #authenticator = new (libzmq().Reply)({ context: this.#context, linger: 0 })
  readonly #connections = new Map<string, Peer>()
  #unauthenticated = 0
  #count = 0
  #closing = false

  constructor(address: ClusterAddress, security: ClusterSecurity | undefined, logger: Logger, admit: Admit) {
    this.#security = security
    this.#mechanism = security === undefined ? 'NULL' : 'CURVE'
    this.#admit = admit
    this.#warning = new ThrottledWarning(logger)
    this.#logger = logger
    this.#server = createServer({ noDelay: true }, (socket) => this.#greet(socket))
    this.opened = this.#open(address)
    this.opened.catch(() => {}) // it may have no listener
  }

  close(): void {
    this.#closing = true
    this.#server.close()
    for (const { socket } of this.#connections.values()) socket.destroy()
    this.#authenticator.close()
    this.#directory.remove()
  }

  async #open({ host, port }: ClusterAddress): Promise<number> {
    await this.#authenticator.bind('inproc://zeromq.zap.01')
    void this.#authenticate()
    this.#server.listen(port, host)
    await once(this.#server, 'listening')
    this.#server.on('error', (error) =>
      this.#logger.error?.(`mongrel2-fetch: the cluster's port failed: ${describeError(error)}`),
    )
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : port
  }

  /** Exchanges greetings with a peer. */
  #greet(socket: Socket): void {
    const from = `${socket.remoteAddress}:${socket.remotePort}`
    const peer: Peer = { socket, from, refused: undefined, refusalLogged: false }
    socket.on('error', () => {}) // it is closed then
    if (this.#unauthenticated >= MOST_UNAUTHENTICATED)
      return this.#refuse(peer, `${MOST_UNAUTHENTICATED} others are in their handshake`)
    if (this.#connections.size - this.#unauthenticated >= MOST_NODES)
      return this.#refuse(peer, `there are ${MOST_NODES} nodes`)
    const number = String(++this.#count)
    this.#connections.set(number, peer)
    this.#unauthenticated++
    const timer = setTimeout(() => this.#refuse(peer, 'its handshake takes too long'), HANDSHAKE_TIME)
    let unauthenticated = true
    const known = () => {
      clearTimeout(timer)
      if (unauthenticated) this.#unauthenticated--
      unauthenticated = false
    }
    socket.once('close', () => {
      if (unauthenticated) this.#refuse(peer, 'it ended the connection during the handshake')
      known()
      this.#connections.delete(number)
    })
    let greeting: Buffer = Buffer.alloc(0)
    const read = (bytes: Buffer) => {
      greeting = Buffer.concat([greeting, bytes])
      try {
        if (parseGreeting(greeting, this.#mechanism) === undefined) return
      } catch (error) {
        return this.#refuse(peer, error instanceof MalformedError ? error.message : String(error))
      }
      socket.off('data', read)
      socket.pause()
      this.#connect(number, peer, greeting, known).catch((error: unknown) => this.#refuse(peer, describeError(error)))
    }
    socket.on('data', read)
    socket.write(renderGreeting(this.#mechanism))
  }

  /** Connects a peer to a libzmq socket after its greeting; drops the greeting of that socket. */
  async #connect(number: string, peer: Peer, greeting: Buffer, known: () => void): Promise<void> {
    const { socket, from } = peer
    const keys = this.#security?.keys
    const curve = keys && { curveServer: true, curveSecretKey: curveKey(keys.secretKey), zapDomain: number }
    const dealer = new (libzmq().Dealer)({ ...STREAM_OPTIONS, ...curve, context: this.#context })
    const connection = this.#admit(dealer, from)
    const path = join(this.#directory.path, number)
    void connection.closed.then(() => socket.destroy())
    socket.once('close', () => connection.close('the connection ended'))
    connection.opened.then(known, () => {
      this.#refuse(peer, peer.refused ?? "its handshake failed: does it have this main node's public key?")
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
      if (withoutMessage > MOST_WITHOUT_MESSAGE) this.#refuse(peer, 'it sends a message that does not end')
    })
    socket.pipe(inner)
  }

  /** Authenticates the keys of peers for libzmq (ZAP, RFC 27); the domain is a peer's number. */
  async #authenticate(): Promise<void> {
    try {
      for (;;) {
        const [version = '', id = '', number, , , mechanism, key] = await this.#authenticator.receive()
        const right = String(mechanism) === 'CURVE' && key !== undefined
        const [code, text] = right && this.#mayJoin(String(number), key.toString('hex')) ? ['200', 'OK'] : ['400', 'No']
        await this.#authenticator.send([version, id, code, text, '', ''])
      }
    } catch {
      // The socket was closed.
    }
  }

  #mayJoin(number: string, key: string): boolean {
    if (this.#security?.nodes.has(key) === true) return true
    const peer = this.#connections.get(number)
    if (peer !== undefined) peer.refused = `its public key is not among those of nodes: ${key}`
    return false
  }

  #refuse(peer: Peer, reason: string): void {
    const { socket, from, refusalLogged } = peer
    socket.destroy()
    if (refusalLogged || this.#closing) return
    peer.refusalLogged = true
    this.#warning.say(() => `mongrel2-fetch refused ${from} at the cluster's port: ${reason}`)
  }
}

/** A connected node, or a peer in its handshake. */
interface Peer {
  readonly socket: Socket
  readonly from: string
  /** Why its key was refused. */
  refused: string | undefined
  refusalLogged: boolean
}
