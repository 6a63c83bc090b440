import type { MessageSender } from '../connection/message-sender.ts'
import {
  type Budget,
  createSharedMessage,
  type Member,
  type SharedMessage,
  type TopicData,
} from '../connection/shared-message.ts'
import type { MessageInfo } from '../platform/handler.ts'
import { LazyMessageInfo } from '../platform/handler-arguments.ts'
import { createLazyResponse, createResponse } from '../platform/light-response.ts'
import { lifetimeOf, sourcesOfCopies } from '../platform/request.ts'
import { invalid } from '../runtime/errors.ts'
import { whenAborted } from '../runtime/promises.ts'
import type { EventFields } from '../wire/http.ts'
import { senderOf, type TopicMember } from './broadcast.ts'
import { EventStream } from './event-stream.ts'
import { LongPoll } from './long-poll.ts'
import { addMembers, deliverEverywhere, removeMembers } from './named-topics.ts'
import {
  checkData,
  checkEventFields,
  checkNextOptions,
  checkStreamOptions,
  checkTopicOptions,
  type NextOptions,
  type StreamOptions,
  type TopicOptions,
} from './options.ts'

/** The members of all topics in this thread. */
let allMembers = 0

/** Members of all topics in this thread. */
export function topicMembers(): number {
  return allMembers
}

/** A handler's second argument. Other servers have no `mongrel2`. */
interface RequestEnv {
  readonly mongrel2?: MessageInfo | undefined
}

/**
 * WebSockets, message sockets, event streams and long polls that get the same messages. A message is rendered once and published in one reply
 * for up to 128 clients. Members that are gone are removed.
 *
 * @example
 * ```ts
 * const news = new Topic()
 * serveMongrel2((request) => {
 *   if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return news.stream(request)
 *   const { socket, response } = upgradeWebSocket(request)
 *   news.add(socket)
 *   return response
 * }, options)
 * news.send('to all of them')
 * ```
 */
export class Topic {
  /** Topics of the same name are one, in all workers. */
  readonly name: string | undefined
  readonly #budget: Budget
  readonly #members = new Set<Member>()
  readonly #deliver = (message: SharedMessage): void => {
    const now = performance.now()
    for (const member of this.#members) member.deliver(message, this.#budget, now)
  }
  readonly #remove = (member: Member): boolean => {
    const removed = this.#members.delete(member)
    if (removed) allMembers--
    if (removed && this.name !== undefined && this.#members.size === 0) removeMembers(this.name, this.#deliver)
    return removed
  }

  /**
   * @param options A name, or an object.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  constructor(options: string | TopicOptions = {}) {
    const { name, budget } = checkTopicOptions(options)
    this.name = name
    this.#budget = budget
  }

  /** The number of members; of a topic with a name, those in this worker. */
  get size(): number {
    return this.#members.size
  }

  /**
   * Makes a WebSocket or a message socket a member: it gets messages while it is open. A closed socket is not added.
   *
   * @throws Mongrel2Error `invalid_option` for anything else.
   */
  add(socket: TopicMember): this {
    const sender = checkMember(socket)
    if (sender.ended) return this
    sender.onEnd(this.#remove)
    this.#add(sender)
    return this
  }

  /** Removes a socket; returns whether it was a member. */
  delete(socket: TopicMember): boolean {
    const sender = checkMember(socket)
    sender.offEnd(this.#remove)
    return this.#remove(sender)
  }

  /**
   * Sends a message to every member: sockets and streams of bytes get it as it is, long polls as their answer, event streams as an event, for
   * which bytes are decoded as UTF-8.
   *
   * @param fields More fields of the event.
   * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, or a field with a line break.
   */
  send(data: TopicData, fields: EventFields = {}): void {
    const message = createSharedMessage(checkData(data), checkEventFields(fields))
    if (this.name === undefined) this.#deliver(message)
    else deliverEverywhere(this.name, message)
  }

  /**
   * Makes a client a member that gets messages as events (HTML standard, "server-sent events"), or as they are, by `format`, until its exchange
   * ends or the server closes.
   * HEAD makes none.
   *
   * @param env The handler's second argument, needed only where middleware may have replaced the request. Without it, the membership of such
   *   a request ends when its signal is aborted, or with the returned response, if that is sent.
   * @returns The response for the handler to return. Its body is an ordinary stream.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  stream(request: Request, options: StreamOptions = {}, env?: RequestEnv): Response {
    const { format, headers } = checkStreamOptions(options)
    if (request.method === 'HEAD') return createResponse(null, { headers })
    const stream = new EventStream(format)
    this.#addUntilOver(stream, request, env)
    return createLazyResponse(stream, headers)
  }

  /**
   * Waits for the next message and makes a response of it: `text/plain`, or `application/octet-stream` for bytes. Messages that are sent
   * before the client asks again are not kept for it.
   *
   * @param env As for `stream`.
   * @returns The response for the handler to return. It is empty, with the status 204, after the timeout, when the server closes, and when
   *   the exchange has ended in another way.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  next(request: Request, options: NextOptions = {}, env?: RequestEnv): Promise<Response> {
    const poll = new LongPoll(checkNextOptions(options).timeout)
    this.#addUntilOver(poll, request, env)
    return poll.answer
  }

  /** Makes a client a member until it ends, or its request's exchange does. */
  #addUntilOver(member: EventStream | LongPoll, request: Request, env: RequestEnv | undefined): void {
    const forget = whenOver(request, env, () => member.end())
    if (member.ended) return forget()
    member.whenEnded = () => {
      forget()
      this.#remove(member)
    }
    this.#add(member)
  }

  #add(member: Member): void {
    const { size } = this.#members
    this.#members.add(member)
    allMembers += this.#members.size - size
    if (this.name !== undefined && this.#members.size === 1) addMembers(this.name, this.#deliver)
  }
}

function checkMember(socket: TopicMember): MessageSender {
  const sender = senderOf(socket)
  if (sender === undefined) throw invalid('member', 'a WebSocket or a message socket of this package', socket)
  return sender
}

/**
 * Calls an action when the exchange of a request ends. For a request that somebody else has made: when its signal is aborted, and when the
 * exchange ends, where that can be found by `env`. At once if that has happened. The action may be called twice.
 *
 * @returns Forgets the action.
 */
function whenOver(request: Request, env: RequestEnv | undefined, action: () => void): () => void {
  const own = lifetimeOf(request)
  if (own !== undefined) return own.whenEnding(action)
  const info = env?.mongrel2
  const { lifetime } = sourcesOfCopies.get(request) ?? {}
  const original = lifetime ?? (info === undefined ? undefined : LazyMessageInfo.lifetimeOf(info))
  const forgets = [whenAborted(request.signal, action), original?.whenEnding(action)]
  return () => {
    for (const forget of forgets) forget?.()
  }
}
