import { whenAborted } from '../../when-aborted.ts'
import type { EventFields } from '../../wire/event-stream.ts'
import { createResponse } from '../platform/light-response.ts'
import { ownerOf } from '../request.ts'
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
import { createSharedMessage, type SharedMessage, type TopicData } from './shared-message.ts'
import type { Audience, Budget, Subscriber } from './subscriber.ts'

/**
 * WebSockets, event streams and long polls that get the same messages. A message is rendered once and published in one reply for as many
 * clients as Mongrel2 takes in one. Members that are gone drop out by themselves.
 *
 * @example
 * ```ts
 * const news = new Topic()
 * serveMongrel2((request) => {
 *   if (request.headers.get('upgrade') !== 'websocket') return news.stream(request)
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
  readonly #members = new Set<Subscriber>()
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
   * Makes a client a member that gets messages as events (HTML standard, "server-sent events"), until it leaves or the server closes.
   *
   * @returns The response for the handler to return. Its body is an ordinary stream for whoever reads it.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  stream(request: Request, options: StreamOptions = {}): Response {
    const headers = checkStreamOptions(options)
    const stream = new EventStream()
    const end = () => stream.end()
    const owner = ownerOf(request)
    // A client that leaves is heard of by who sends the body; a request that somebody has made may have another reason to end.
    if (owner !== undefined) owner.whenLeaving(end)
    else whenAborted(request.signal, end)
    this.#join(stream)
    return createResponse(stream.body, { headers })
  }

  /**
   * Waits for the next message and makes a response of it: `text/plain` or, of bytes, `application/octet-stream`. What is sent before the
   * client asks again is not kept for it.
   *
   * @returns The response for the handler to return; an empty one with the status 204 after the timeout, or when the server closes.
   * @throws Mongrel2Error `invalid_option` when an option is wrong.
   */
  next(request: Request, options: NextOptions = {}): Promise<Response> {
    const poll = new LongPoll(checkNextOptions(options).timeout)
    const end = () => poll.end()
    ownerOf(request)?.whenLeaving(end)
    whenAborted(request.signal, end)
    this.#join(poll)
    return poll.answer
  }

  #join(subscriber: Subscriber): void {
    if (!subscriber.join(this.#audience)) return
    this.#members.add(subscriber)
    if (this.name !== undefined && this.#members.size === 1) addMembers(this.name, this.#audience)
  }

  #forget(subscriber: Subscriber): boolean {
    if (!this.#members.delete(subscriber)) return false
    if (this.name !== undefined && this.#members.size === 0) removeMembers(this.name, this.#audience)
    return true
  }

  #deliver(message: SharedMessage): void {
    const now = performance.now()
    for (const member of this.#members) member.deliver(message, this.#budget, now)
  }
}
