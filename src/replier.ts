import {
  type EstimateBounds,
  EstimatePacing,
  FOREIGN_MESSAGES,
  WaitingBudget,
} from './connection/pacing/estimate-pacing.ts'
import { parseToken, type Token } from './connection/token.ts'
import { checkOptions, SERVER_OPTIONS, type Settings } from './exchange/options.ts'
import { collectResponse } from './exchange/response/collected-response.ts'
import { ReconnectingPublisher } from './link/reconnecting-publisher.ts'
import { socketIdOf } from './link/socket-id.ts'
import { TRANSPORTS } from './link/transports.ts'
import type { EndpointInput, EndpointSettings, LinkOption } from './options/endpoint.ts'
import * as is from './options/option.ts'
import { Mongrel2Error } from './runtime/errors.ts'
import type { Logger } from './runtime/log.ts'
import { deferred } from './runtime/promises.ts'
import { bytesOf } from './wire/bytes.ts'
import { FLOW_CONTROL_WINDOW } from './wire/limits.ts'
import { CLOSE, type Reply, renderReply } from './wire/reply.ts'
import { OPCODE, renderFrame } from './wire/websocket/frames.ts'

/** Tolerated difference between the clocks of two machines, in milliseconds. */
const CLOCK_TOLERANCE = 1000
/** Number of tokens from which on a map drops those that need no memory. */
const SWEEP_FROM = 1024

/** Options of `createReplier`. */
export interface ReplierOptions {
  /** The Handlers to publish to, as for `serveMongrel2`; nothing is pulled from them. */
  zeromq: EndpointInput | readonly EndpointInput[]
  /** As for `serveMongrel2`. */
  link?: LinkOption
  /** The sockets' identity, a UUID. Default: a new one each time. */
  identity?: string
  /** Bytes of one response, or of messages on their way to one socket. Default: 8 MiB. */
  maxBufferedBytes?: number
  /** Bytes a second that the client of a socket reads at least. Default: 16 KiB. */
  minClientRate?: number
  /** Where log lines go. Default: the console, for warnings and errors. */
  logger?: Logger
}

const { zeromq, link, identity, maxBufferedBytes, minClientRate, logger } = SERVER_OPTIONS
const REPLIER_OPTIONS = { zeromq, link, identity, maxBufferedBytes, minClientRate, logger }
const checkReplierOptions = is.checkerOf(
  'option of createReplier',
  'an object with at least zeromq',
  REPLIER_OPTIONS satisfies is.Described<ReplierOptions>,
)

type ReplierSettings = Pick<Settings, 'endpoints' | 'identity' | 'maxBufferedBytes' | 'minClientRate' | 'logger'>

/** Answers requests and writes to sockets whose tokens it is given. */
export interface Replier extends AsyncDisposable {
  /** Resolves when every endpoint can be written to. Rejects with a `Mongrel2Error` `closed` when the replier is closed before. */
  readonly ready: Promise<void>
  /**
   * Answers a request by the token of `env.mongrel2.defer`. The body is read to its end before anything is sent, and then all of it goes out
   * together. Resolves when it is on its way: nobody says whether it arrived.
   *
   * @throws Mongrel2Error `invalid_token`; `stale_token` when its time is over, when this replier has answered it, or when it is not certain that
   * the token is of a Mongrel2 that this is connected to; `invalid_response`; `over_budget` when the response is larger than may be sent from outside, which
   * is 102,400 bytes under `download.flow_control` and otherwise `maxBufferedBytes`, head included. After these, and after the failure of its body,
   * the token can be used again.
   */
  reply(token: string, response: Response): Promise<void>
  /**
   * Sends a message to a WebSocket or a message socket by its token: text, or bytes, which a WebSocket gets as a binary message.
   *
   * @throws Mongrel2Error `invalid_token`; `stale_token` as for `reply`; `over_budget` when more has been sent to it than surely was read,
   * and always under `download.flow_control`, where the socket's own messages go in pieces.
   */
  send(token: string, data: string | ArrayBuffer | ArrayBufferView): Promise<void>
  /** Delivers what was sent and closes. */
  close(): Promise<void>
}

/**
 * Makes a replier: the publishing half of a link, and nothing else. Whoever can reach a Handler's `recv_spec` can use one, with no server of
 * its own.
 *
 * @throws Mongrel2Error `invalid_option` when an option is wrong.
 *
 * @example
 * ```ts
 * await using replier = createReplier({ zeromq: 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998' })
 * await replier.ready
 * await replier.reply(token, Response.json({ done: true }))
 * ```
 */
export function createReplier(options: ReplierOptions): Replier {
  checkReplierOptions(options)
  return new PublishingReplier(checkOptions(() => new Response(), options))
}

class PublishingReplier implements Replier {
  readonly ready: Promise<void>
  readonly #settings: ReplierSettings
  readonly #outlets: Outlet[]
  /** Answered tokens with their deadlines. */
  readonly #answered = new SweptMap<number>((deadline) => deadline < Date.now())
  readonly #budget: ReplierBudget
  #closed: Promise<void> | undefined

  constructor(settings: ReplierSettings) {
    this.#settings = settings
    this.#budget = new ReplierBudget(settings)
    this.#outlets = settings.endpoints.map((endpoint) => new Outlet(endpoint, settings))
    this.ready = Promise.all(this.#outlets.map(({ ready }) => ready)).then(() => {})
    this.ready.catch(() => {}) // not everybody waits for it
  }

  async reply(text: string, response: Response): Promise<void> {
    const token = tokenFor(text, ['request'])
    const { id, sender, method, http10, deadline, flowControl } = token
    if (this.#answered.has(text)) throw stale('one that this replier has not answered yet')
    this.#answered.set(text, deadline)
    try {
      await this.#connected()
      this.#outletFor(token)
      const most = flowControl ? FLOW_CONTROL_WINDOW : this.#settings.maxBufferedBytes
      const payload = await collectResponse(response, { method, http10, persistent: false, single: true }, most)
      // Again, since that Mongrel2 may have gone meanwhile.
      const outlet = this.#outletFor(token)
      // In one send, so that no other reply comes between.
      await outlet.publish([renderReply(sender, [id], payload), renderReply(sender, [id], [CLOSE])])
    } catch (error) {
      this.#answered.delete(text)
      throw error
    }
  }

  async send(text: string, data: string | ArrayBuffer | ArrayBufferView): Promise<void> {
    const token = tokenFor(text, ['websocket', 'messages'])
    const bytes = bytesOf(data)
    const opcode = typeof data === 'string' ? OPCODE.text : OPCODE.binary
    await this.#connected()
    const outlet = this.#outletFor(token)
    if (token.flowControl) {
      throw new Mongrel2Error(
        'over_budget',
        "expected a socket of a Mongrel2 without download.flow_control: with it the socket's own messages go in pieces, and this one could come between",
      )
    }
    const payload = token.kind === 'websocket' ? renderFrame(opcode, bytes) : bytes
    this.#budget.take(text, payload.length)
    await outlet.publish([renderReply(token.sender, [token.id], [payload])])
  }

  close(): Promise<void> {
    this.#closed ??= Promise.all(this.#outlets.map((outlet) => outlet.close())).then(() => {})
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #connected(): Promise<void> {
    if (this.#closed !== undefined) throw new Mongrel2Error('closed', 'expected a replier that was not closed')
    await this.ready
  }

  /** Where a token's connection certainly is. */
  #outletFor(token: Token): Outlet {
    if (token.deadline !== 0 && Date.now() > token.deadline) throw stale('one whose time is not over')
    const outlet = this.#outlets.find((candidate) => candidate.has(token))
    if (outlet === undefined) {
      throw stale(
        'one of a Mongrel2 that this replier is connected to, in the same life of it: on one machine that is told by its socket, otherwise the token has ' +
          'to have been made after this connected, and by a server that names the recv_spec in the same way',
      )
    }
    return outlet
  }
}

/** A map that drops the entries that are over whenever it has doubled in size. */
class SweptMap<Value> extends Map<string, Value> {
  readonly #isOver: (value: Value) => boolean
  #sweepAt = SWEEP_FROM

  constructor(isOver: (value: Value) => boolean) {
    super()
    this.#isOver = isOver
  }

  override set(key: string, value: Value): this {
    super.set(key, value)
    if (this.size < this.#sweepAt) return this
    for (const [candidate, other] of this) if (this.#isOver(other)) this.delete(candidate)
    this.#sweepAt = Math.max(SWEEP_FROM, 2 * this.size)
    return this
  }
}

/** Bounds what is sent to each socket from outside, where nothing tells what its client has read: a share of Mongrel2's queue. */
class ReplierBudget {
  readonly #settings: ReplierSettings
  readonly #bounds: EstimateBounds
  readonly #unlimited = new WaitingBudget(Number.POSITIVE_INFINITY)
  readonly #pacings = new SweptMap<EstimatePacing>((pacing) => pacing.count(performance.now()) === 0)

  constructor(settings: ReplierSettings) {
    this.#settings = settings
    const { maxBufferedBytes: bytes } = settings
    this.#bounds = { messages: FOREIGN_MESSAGES, bytes, messageBytes: bytes }
  }

  /** @throws Mongrel2Error `over_budget` when a message of so many bytes is too much for a socket now. */
  take(token: string, bytes: number): void {
    const now = performance.now()
    const { maxBufferedBytes, minClientRate } = this.#settings
    const pacing = this.#pacings.get(token) ?? new EstimatePacing(this.#settings, this.#unlimited, this.#bounds)
    if (bytes + pacing.undelivered(now) > maxBufferedBytes || pacing.allowance(bytes, true, now) < bytes) {
      throw new Mongrel2Error(
        'over_budget',
        `expected at most ${FOREIGN_MESSAGES} messages and ${maxBufferedBytes} bytes to be on their way to one socket, whose client is taken to read ` +
          `${minClientRate} bytes a second: try again later, or let the process that has the socket send it`,
      )
    }
    pacing.published(bytes, now)
    this.#pacings.set(token, pacing)
  }
}

/** One Handler's publishing half. */
class Outlet {
  readonly #ready = deferred()
  readonly #connection: ReconnectingPublisher
  readonly #recvSpec: string
  /** When it was connected, in milliseconds of `Date.now()`; undefined when it is not. */
  #since: number | undefined
  #socketId: string | undefined

  constructor({ link, recvSpec }: EndpointSettings, { identity, logger }: ReplierSettings) {
    this.#recvSpec = recvSpec
    this.#connection = new ReconnectingPublisher(TRANSPORTS[link], recvSpec, identity, logger, (attached) => {
      this.#since = attached ? Date.now() : undefined
      this.#socketId = attached ? socketIdOf(recvSpec) : undefined
      if (attached) this.#ready.resolve()
    })
  }

  /** Resolves when it can be written to for the first time. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  /** Whether a token is certainly of the epoch that this is connected to. */
  has({ socketId, recvSpec, madeAt }: Token): boolean {
    if (this.#since === undefined) return false
    if (socketId !== undefined && this.#socketId !== undefined) return socketId === this.#socketId
    return recvSpec === this.#recvSpec && madeAt >= this.#since + CLOCK_TOLERANCE
  }

  async publish(replies: Reply[]): Promise<void> {
    this.#connection.publisher?.publish(replies)
    await this.#connection.publisher?.drained()
  }

  async close(): Promise<void> {
    this.#ready.reject(
      new Mongrel2Error('closed', 'the replier was closed before Mongrel2 was found at every endpoint'),
    )
    await this.#connection.close()
  }
}

function tokenFor(text: string, kinds: readonly Token['kind'][]): Token {
  const token = parseToken(text)
  if (!kinds.includes(token.kind)) {
    throw new Mongrel2Error('invalid_token', `expected a token for ${kinds.join(' or ')}, got one for ${token.kind}`)
  }
  return token
}

function stale(expected: string): Mongrel2Error {
  return new Mongrel2Error('stale_token', `expected a token that can still be used: ${expected}`)
}
