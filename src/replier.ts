import {
  type EstimateBounds,
  EstimatePacing,
  REPLIER_MESSAGES,
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
import { closeReply, type Reply } from './wire/reply.ts'
import { OPCODE, renderFrame } from './wire/websocket/frames.ts'

/** Tolerated difference between the clocks of two machines, in milliseconds. */
const CLOCK_TOLERANCE = 1000
/** Number of tokens from which on a map drops expired ones. */
const SWEEP_FROM = 1024

/** Options of `createReplier`. */
export interface ReplierOptions {
  /** The Handlers to publish to, as for `serveMongrel2`. The replier pulls nothing from them. */
  zeromq: EndpointInput | readonly EndpointInput[]
  /** As for `serveMongrel2`. */
  link?: LinkOption
  /** The sockets' identity, a UUID. Default: a new one each time. */
  identity?: string
  /** Upper bound of the bytes of one response, or of the messages on their way to one socket. Default: 8 MiB. */
  maxBufferedBytes?: number
  /** Lowest rate at which the client of a socket is assumed to read, in bytes a second. Default: 16 KiB. */
  minClientRate?: number
  /** Where log lines go. Default: the console, for warnings and errors. */
  logger?: Logger
}

const { zeromq, link, identity, maxBufferedBytes, minClientRate, logger } = SERVER_OPTIONS
export const REPLIER_OPTIONS = {
  zeromq,
  link,
  identity,
  maxBufferedBytes,
  minClientRate,
  logger,
} satisfies is.Described<ReplierOptions>
const checkReplierOptions = is.checkerOf('option of createReplier', 'an object with at least zeromq', REPLIER_OPTIONS)

/** Answers requests and writes to sockets by their tokens. */
export interface Replier extends AsyncDisposable {
  /** Resolves when every endpoint can be written to. Rejects with a `Mongrel2Error` `closed` when the replier is closed before. */
  readonly ready: Promise<void>
  /**
   * Answers a request by the token of `env.mongrel2.defer`. Reads the body to its end, then sends the whole response at once. Resolves when it
   * is published; whether it arrives is not known.
   *
   * @throws Mongrel2Error `invalid_token`; `stale_token` when the token has expired, was answered by this replier, or may belong to a Mongrel2
   * that the replier is not connected to; `invalid_response`; `over_budget` when the response, head included, has more than `maxBufferedBytes`, or
   * than 102,400 bytes under `download.flow_control`. After such an error, or a failure of the body, the token can be used again.
   */
  reply(token: string, response: Response): Promise<void>
  /**
   * Sends a message to a WebSocket or a message socket by its token: text, or bytes, which a WebSocket gets as a binary message.
   *
   * @throws Mongrel2Error `invalid_token`; `stale_token` as for `reply`; `over_budget` when too many messages may still be unread, and always
   * under `download.flow_control`, where the socket's own messages go in pieces.
   */
  send(token: string, data: string | ArrayBuffer | ArrayBufferView): Promise<void>
  /** Delivers everything that was sent, then closes the sockets. */
  close(): Promise<void>
}

/**
 * Makes a replier, the publishing half of a link. It needs to reach the `recv_spec` of a Handler, but no server of its own.
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
  const settings = checkOptions(() => new Response(), options)
  const outlets = settings.endpoints.map((endpoint) => new Outlet(endpoint, settings))
  const budget = new ReplierBudget(settings)
  /** Answered tokens with their deadlines. */
  const answered = new SweptMap<number>((deadline) => deadline < Date.now())
  const ready = Promise.all(outlets.map((outlet) => outlet.ready)).then(() => {})
  ready.catch(() => {}) // the user may not wait for it
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= Promise.all(outlets.map((outlet) => outlet.close())).then(() => {})
    return closed
  }
  return { ready, reply, send, close, [Symbol.asyncDispose]: close }

  async function reply(text: string, response: Response): Promise<void> {
    const token = tokenFor(text, ['request'])
    const { id, sender, method, http10, deadline, flowControl } = token
    if (answered.has(text)) throw stale('one that this replier has not answered yet')
    answered.set(text, deadline)
    try {
      await connected()
      outletFor(token)
      const most = flowControl ? FLOW_CONTROL_WINDOW : settings.maxBufferedBytes
      const payload = await collectResponse(response, { method, http10, persistent: false, single: true }, most)
      // Checked again: that Mongrel2 may have gone while the body was read.
      const outlet = outletFor(token)
      // One send, so that no other reply comes between.
      await outlet.publish([{ sender, connectionIds: [id], payload }, closeReply(sender, [id])])
    } catch (error) {
      answered.delete(text)
      throw error
    }
  }

  async function send(text: string, data: string | ArrayBuffer | ArrayBufferView): Promise<void> {
    const token = tokenFor(text, ['websocket', 'messages'])
    const bytes = bytesOf(data)
    await connected()
    const outlet = outletFor(token)
    if (token.flowControl) {
      throw new Mongrel2Error(
        'over_budget',
        "expected a socket of a Mongrel2 without download.flow_control: with it the socket's own messages go in pieces, and this one could come between",
      )
    }
    const opcode = typeof data === 'string' ? OPCODE.text : OPCODE.binary
    const payload = token.kind === 'websocket' ? renderFrame(opcode, bytes) : bytes
    budget.take(text, payload.length)
    await outlet.publish([{ sender: token.sender, connectionIds: [token.id], payload: [payload] }])
  }

  async function connected(): Promise<void> {
    if (closed !== undefined) throw new Mongrel2Error('closed', 'expected a replier that was not closed')
    await ready
  }

  /** The outlet to the Mongrel2 that certainly has the token's connection. */
  function outletFor(token: Token): Outlet {
    if (token.deadline !== 0 && Date.now() > token.deadline) throw stale('one whose time is not over')
    const outlet = outlets.find((candidate) => candidate.has(token))
    if (outlet !== undefined) return outlet
    throw stale(
      'one that was made by the same run of a Mongrel2 that this replier is connected to. On one machine its socket shows that; otherwise the token ' +
        'has to be newer than the connection of this replier, and its server has to name the recv_spec in the same way',
    )
  }
}

/** A map that drops expired entries whenever its size has doubled. */
class SweptMap<Value> extends Map<string, Value> {
  readonly #isExpired: (value: Value) => boolean
  #sweepAt = SWEEP_FROM

  constructor(isExpired: (value: Value) => boolean) {
    super()
    this.#isExpired = isExpired
  }

  override set(key: string, value: Value): this {
    super.set(key, value)
    if (this.size < this.#sweepAt) return this
    for (const [candidate, other] of this) if (this.#isExpired(other)) this.delete(candidate)
    this.#sweepAt = Math.max(SWEEP_FROM, 2 * this.size)
    return this
  }
}

/** Bounds the messages that wait in Mongrel2 for each socket. What its client has read is not known here, so it is estimated. */
class ReplierBudget {
  readonly #settings: Settings
  readonly #bounds: EstimateBounds
  readonly #unlimited = new WaitingBudget(Number.POSITIVE_INFINITY)
  readonly #pacings = new SweptMap<EstimatePacing>((pacing) => pacing.count(performance.now()) === 0)

  constructor(settings: Settings) {
    this.#settings = settings
    const { maxBufferedBytes: bytes } = settings
    this.#bounds = { messages: REPLIER_MESSAGES, bytes, messageBytes: bytes }
  }

  /** Counts a message of so many bytes; throws Mongrel2Error `over_budget` when that is too much for the socket now. */
  take(token: string, bytes: number): void {
    const now = performance.now()
    const { maxBufferedBytes, minClientRate } = this.#settings
    const pacing = this.#pacings.get(token) ?? new EstimatePacing(this.#settings, this.#unlimited, this.#bounds)
    if (bytes + pacing.undelivered(now) > maxBufferedBytes || pacing.allowance(bytes, true, now) < bytes) {
      throw new Mongrel2Error(
        'over_budget',
        `expected at most ${REPLIER_MESSAGES} messages and ${maxBufferedBytes} bytes to be on their way to one socket, whose client is assumed to read ` +
          `${minClientRate} bytes a second: try again later, or let the process that has the socket send it`,
      )
    }
    pacing.published(bytes, now)
    this.#pacings.set(token, pacing)
  }
}

/** The publishing socket to one Handler. */
class Outlet {
  readonly #ready = deferred()
  /** Resolves when it is connected for the first time. */
  readonly ready = this.#ready.promise
  readonly #publisher: ReconnectingPublisher
  readonly #recvSpec: string
  /** When it connected, in milliseconds of `Date.now()`; undefined while it is not connected. */
  #since: number | undefined
  #socketId: string | undefined

  constructor({ link, recvSpec }: EndpointSettings, { identity, logger }: Settings) {
    this.#recvSpec = recvSpec
    this.#publisher = new ReconnectingPublisher(TRANSPORTS[link], recvSpec, identity, logger, (connected) => {
      this.#since = connected ? Date.now() : undefined
      this.#socketId = connected ? socketIdOf(recvSpec) : undefined
      if (connected) this.#ready.resolve()
    })
  }

  /** Whether a token certainly belongs to the epoch that this is connected to. */
  has({ socketId, recvSpec, madeAt }: Token): boolean {
    if (this.#since === undefined) return false
    if (socketId !== undefined && this.#socketId !== undefined) return socketId === this.#socketId
    return recvSpec === this.#recvSpec && madeAt >= this.#since + CLOCK_TOLERANCE
  }

  async publish(replies: Reply[]): Promise<void> {
    this.#publisher.publisher?.publish(replies)
    await this.#publisher.publisher?.drained()
  }

  async close(): Promise<void> {
    this.#ready.reject(
      new Mongrel2Error('closed', 'the replier was closed before Mongrel2 was found at every endpoint'),
    )
    await this.#publisher.close()
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
