import {
  type Audience,
  type Budget,
  createSharedMessage,
  type SharedMessage,
  type Subscriber,
  type TopicData,
} from '../connection/shared-message.ts'
import { createResponse } from '../platform/light-response.ts'
import type { EventFields } from '../wire/http.ts'
import { EventStream } from './event-stream.ts'
import { LongPoll } from './long-poll.ts'
import { checkMember, type TopicMember } from './member.ts'
import { addMembers, deliverEverywhere, type LocalMembers, removeMembers } from './named-topics.ts'
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
import { type RequestEnv, whenOver } from './when-over.ts'

/**
 * WebSockets, event streams and long polls that get the same messages. A message is rendered once and published in one reply for as many
 * clients as Mongrel2 takes in one. Members that are gone drop out by themselves.
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
  /** The members, each with what has to be done when it is none any more. */
  readonly #members = new Map<Subscriber, () => void>()
  readonly #audience: Audience & LocalMembers = {
    remove: (subscriber) => this.#forget(subscriber),
    deliver: (message) => this.#deliver(message),
  }

  /**
   * @param options A name, or an object with one and with what happens to slow members.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  constructor(options: string | TopicOptions = {}) {
    const { name, budget } = checkTopicOptions(options)
    this.name = name
    this.#budget = budget
  }

  /** How many members there are; of one with a name, in this worker. */
  get size(): number {
    return this.#members.size
  }

  /**
   * Makes a WebSocket or a message socket a member. It gets what is sent while it is open, amid what is sent to it alone. One that is
   * closed is not added.
   *
   * @throws Mongrel2Error `invalid_option` for anything else.
   */
  add(socket: TopicMember): this {
    this.#join(checkMember(socket))
    return this
  }

  /** Ends a socket's membership; returns whether it had one. */
  delete(socket: TopicMember): boolean {
    const subscriber = checkMember(socket)
    subscriber.leave(this.#audience)
    return this.#forget(subscriber)
  }

  /**
   * Sends a message to every member: to sockets as it is, to long polls as their answer, to event streams as an event. Bytes are UTF-8
   * for event streams.
   *
   * @param fields What an event says besides.
   * @throws Mongrel2Error `invalid_option` for data that is neither text nor bytes, or a field with a line break.
   */
  send(data: TopicData, fields: EventFields = {}): void {
    const message = createSharedMessage(checkData(data), checkEventFields(fields))
    if (this.name === undefined) this.#deliver(message)
    else deliverEverywhere(this.name, message)
  }

  /**
   * Makes a client a member that gets messages as events (HTML standard, "server-sent events"), until it leaves or the server closes. It is
   * no member any more when its exchange has ended, also with another response than this one. HEAD makes none.
   *
   * @param env The handler's second argument, needed only where the request may be another than the one that the handler was called with.
   *   Without it the membership of such a request ends when its signal is aborted, or with the response, if that is the one that is sent.
   * @returns The response for the handler to return. Its body is an ordinary stream for whoever reads it.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  stream(request: Request, options: StreamOptions = {}, env?: RequestEnv): Response {
    const headers = checkStreamOptions(options)
    if (request.method === 'HEAD') return createResponse(null, { headers })
    const stream = new EventStream()
    const forget = whenOver(request, env, () => stream.end())
    this.#join(stream, forget)
    return createResponse(stream.body, { headers })
  }

  /**
   * Waits for the next message and makes a response of it: `text/plain` or, of bytes, `application/octet-stream`. What is sent before the
   * client asks again is not kept for it.
   *
   * @param env As for `stream`.
   * @returns The response for the handler to return; an empty one with the status 204 after the timeout, when the server closes, or when the
   *   exchange has ended in another way.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  next(request: Request, options: NextOptions = {}, env?: RequestEnv): Promise<Response> {
    const poll = new LongPoll(checkNextOptions(options).timeout)
    const forget = whenOver(request, env, () => poll.end())
    this.#join(poll, forget)
    return poll.answer
  }

  /** @param forget Called when it is no member any more. */
  #join(subscriber: Subscriber, forget = () => {}): void {
    if (!subscriber.join(this.#audience)) return forget()
    this.#members.set(subscriber, forget)
    if (this.name !== undefined && this.#members.size === 1) addMembers(this.name, this.#audience)
  }

  #forget(subscriber: Subscriber): boolean {
    const forget = this.#members.get(subscriber)
    if (forget === undefined) return false
    this.#members.delete(subscriber)
    forget()
    if (this.name !== undefined && this.#members.size === 0) removeMembers(this.name, this.#audience)
    return true
  }

  #deliver(message: SharedMessage): void {
    const now = performance.now()
    for (const member of this.#members.keys()) member.deliver(message, this.#budget, now)
  }
}
