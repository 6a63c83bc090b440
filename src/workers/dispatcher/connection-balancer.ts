import { leave } from '../../connection/closed-connections.ts'
import { turnTime } from '../../runtime/clock.ts'
import { type Message, parseEnvelope, parseMessage } from '../../wire/message.ts'
import type { ConnectionReport } from '../protocol/frames.ts'
import { canTake, canTakeHeld, Places, storedPathOf } from './places.ts'
import { DealtConnection, type DealtEpoch, type OpenRequest, type ReceivedMessage, type ThreadState } from './state.ts'

/** Messages of one connection that may wait. */
const MOST_HELD = 128

/** Only messages that contain one of these are parsed: dealing without headers costs less than half as much. */
const NOTICE_PATH = '@*'
const STREAMED = Buffer.from('UPLOAD_STREAM')
const STORED = Buffer.from('x-mongrel2-upload-')

/** The answer on a connection that is ended; undefined if an answer has begun or no request is open. */
export type EndStatus = 502 | 503 | undefined

/** Carries out what the balancer decides. */
export interface BalancerOutlet {
  /** @param unwrittenBytes Bytes that Mongrel2 has not written yet; 0 but for the connection's first message at this thread. */
  deal(thread: ThreadState, epoch: DealtEpoch, message: Buffer, unwrittenBytes: number): void
  /** Asks a thread to hand over a connection on which nothing is open; `handedOver` takes the answer. */
  askHandOver(thread: ThreadState, connection: DealtConnection): void
  /** Ends a connection in place of its thread. `request`: the one that ends with it, if requests are observed. */
  end(connection: DealtConnection, status: EndStatus, request?: OpenRequest): void
  /** Takes a part of a body for a connection that was ended. */
  partOfEnded(epoch: DealtEpoch, message: Message): void
  /** Called when the client of a connection without a thread has left. */
  leftEnded(epoch: DealtEpoch, id: number): void
  /** Deletes the file of a stored body that no thread will read. */
  deleteUpload(epoch: DealtEpoch, path: string): void
  /** Called, if requests are observed, for one whose end no thread reports, and whose connection needs no answer and no close. */
  ended(request: OpenRequest): void
  /** Called when a thread has no connection any more. */
  emptied(thread: ThreadState): void
}

/**
 * Deals messages to handler threads: all of one connection to the same thread, in order; a new connection to the thread with the least in
 * flight. Tracks the thread of each connection and whether an answer has begun, so that no client waits for a thread that ended.
 */
export class ConnectionBalancer {
  /** Counters since the start, as `DispatcherStatistics` describes them. */
  readonly counters = { messages: 0, rejected: 0, ignored: 0 }
  readonly #epochs = new Set<DealtEpoch>()
  readonly #places: Places
  readonly #outlet: BalancerOutlet
  readonly #observed: boolean

  /**
   * @param observed Whether to keep the request of each connection until its end is reported.
   * @param maxInFlight Requests in flight at a thread.
   * @param maxQueued Requests that wait for a place when all threads are full.
   */
  constructor(maxInFlight: number, maxQueued: number, outlet: BalancerOutlet, observed = false) {
    this.#places = new Places(maxInFlight, maxQueued)
    this.#outlet = outlet
    this.#observed = observed
  }

  /** Connections with state. */
  get connections(): number {
    let count = 0
    for (const epoch of this.#epochs) count += epoch.connections.size
    return count
  }

  /** Requests that wait for a place. */
  get queued(): number {
    return this.#places.queued
  }

  begin(epoch: DealtEpoch): void {
    this.#epochs.add(epoch)
  }

  /** Ends an epoch: Mongrel2 and all of its clients are gone. */
  end(epoch: DealtEpoch): void {
    this.#epochs.delete(epoch)
    for (const connection of epoch.connections.values()) {
      for (const { message } of connection.held ?? []) this.#drop(epoch, message)
      this.#observeEnd(connection.held?.[0])
      leaveOpen(connection)
      this.#remove(connection)
    }
    for (const thread of this.#places.threads) thread.attached.delete(epoch)
  }

  /** Closes the connections that the epoch before left open at the same Mongrel2: nothing else will answer them. */
  closeLeft(epoch: DealtEpoch): void {
    for (const [id, { sender, deferred }] of epoch.left) {
      if (deferred) continue
      epoch.left.delete(id)
      this.#end(new DealtConnection(epoch, id, sender), undefined)
    }
  }

  /** Adds a thread, which gets messages of the epochs that it is attached to. */
  add(thread: ThreadState): void {
    this.#places.threads.add(thread)
  }

  /** Notes that a thread can publish to an epoch. */
  attach(thread: ThreadState, epoch: DealtEpoch): void {
    if (!this.#places.threads.has(thread)) return
    thread.attached.add(epoch)
    this.#dealQueued(thread)
  }

  /** Notes that a thread cannot publish to an epoch any more, and ends its connections there. */
  detach(thread: ThreadState, epoch: DealtEpoch): void {
    thread.attached.delete(epoch)
    this.#endConnections(thread, epoch)
  }

  /** Deals no new connections to a thread. */
  withdraw(thread: ThreadState): void {
    this.#places.threads.delete(thread)
    thread.attached.clear()
    if (this.#places.threads.size > 0) return
    for (const epoch of this.#epochs) for (const connection of epoch.waiting) this.#refuse(connection)
  }

  /** Ends a thread's connections after its last report. Idle ones stay if it had delivered everything (`clean`). */
  remove(thread: ThreadState, clean = false): void {
    for (const epoch of this.#epochs) this.#endConnections(thread, epoch, clean)
    this.withdraw(thread)
    if (clean) return
    for (const connection of thread.recentlyClosed) {
      if (this.#epochs.has(connection.epoch)) this.#outlet.end(connection, undefined)
    }
  }

  /** Moves each connection of a thread to another thread as soon as nothing is open on it. */
  retire(thread: ThreadState): void {
    thread.retiring = true
    if (thread.connections === 0) this.#outlet.emptied(thread)
  }

  /** Deals a message. @throws MalformedError when the bytes are no message. */
  receive(epoch: DealtEpoch, bytes: Buffer): void {
    this.counters.messages++
    const { connectionId, sender, path } = parseEnvelope(bytes)
    const plain = path !== NOTICE_PATH && !bytes.includes(STREAMED) && !bytes.includes(STORED)
    const message = plain ? undefined : parseMessage(bytes)
    if (message !== undefined && message.kind === 'notice') return this.#notice(epoch, bytes, message)
    let connection = epoch.connections.get(connectionId)
    if (connection === undefined) {
      if (epoch.closed.has(connectionId)) {
        if (message?.headers.own('UPLOAD_STREAM') !== undefined) this.#outlet.partOfEnded(epoch, message)
        return this.#drop(epoch, message)
      }
      connection = new DealtConnection(epoch, connectionId, sender)
      if (epoch.left.delete(connectionId)) {
        // The client would take an answer to this request for the answer to the one that was left open.
        this.#drop(epoch, message)
        return this.#end(connection, undefined)
      }
      epoch.connections.set(connectionId, connection)
    }
    this.#take(connection, { bytes, message })
  }

  /** Takes a thread's report of requests in flight after it has seen so many messages. */
  report(thread: ThreadState, seen: number, inFlight: number): void {
    thread.report(seen, inFlight)
    this.#dealQueued(thread)
  }

  /** Takes a thread's report of a connection after it has seen so many messages. */
  reportConnection(thread: ThreadState, epoch: DealtEpoch, id: number, report: ConnectionReport, seen: number): void {
    const connection = epoch.connections.get(id)
    if (connection?.thread !== thread) return
    switch (report) {
      case 'answering':
      case 'deferred':
        connection.state = report
        break
      case 'idle':
        // An `idle` report sent before `deferred` may arrive later.
        if (connection.state === 'deferred') break
        // Messages dealt after this report are still unanswered.
        connection.state = connection.last > seen ? 'waiting' : 'idle'
        if (connection.state !== 'idle') break
        connection.uploads = undefined
        if (connection.waitsFor === 'idle') this.#move(connection)
        break
      case 'closed':
        epoch.closed.add(id, performance.now(), thread)
        thread.close(connection, performance.now())
        for (const { message } of connection.held ?? []) this.#drop(epoch, message)
        this.#remove(connection)
        break
      case 'forgotten':
        // `handedOver` removes a connection that was asked for.
        if (connection.last <= seen && connection.held === undefined) this.#remove(connection)
    }
  }

  /** Takes a thread's answer to `askHandOver`; `unwrittenBytes` is undefined if the thread keeps the connection. */
  handedOver(thread: ThreadState, epoch: DealtEpoch, id: number, unwrittenBytes: number | undefined): void {
    const connection = epoch.connections.get(id)
    if (connection?.thread !== thread || connection.waitsFor !== 'handOver') return
    connection.waitsFor = undefined
    if (unwrittenBytes !== undefined) {
      this.#leave(connection)
      connection.unwrittenBytes = unwrittenBytes
    } else if (!canTakeHeld(thread, connection)) return this.#refuse(connection)
    this.#place(connection)
  }

  #take(connection: DealtConnection, received: ReceivedMessage): void {
    const { thread } = connection
    if (connection.held !== undefined) {
      if (connection.held.length >= MOST_HELD) return this.#refuse(connection)
      connection.held.push(received)
    } else if (connection.state === 'idle') {
      connection.held = [received]
      this.#move(connection)
    } else if (thread !== undefined && !canTake(thread, received)) {
      connection.held = [received]
      connection.waitsFor = 'idle'
    } else this.#deal(connection, received)
  }

  /** Deals the held messages of a connection, to another thread if that is better. */
  #move(connection: DealtConnection): void {
    const { thread } = connection
    if (thread !== undefined && this.#places.hasBetter(thread, connection)) {
      connection.waitsFor = 'handOver'
      this.#outlet.askHandOver(thread, connection)
    } else this.#place(connection)
  }

  /** Deals the held messages of a connection as soon as there is a place for them. */
  #place(connection: DealtConnection): void {
    const thread = connection.thread ?? this.#places.pick(connection)
    if (thread !== undefined && this.#places.hasRoom(thread)) this.#assign(connection, thread)
    else if (!this.#places.queue(connection)) this.#refuse(connection)
  }

  #assign(connection: DealtConnection, thread: ThreadState): void {
    if (connection.thread === undefined) {
      connection.thread = thread
      thread.connections++
      this.#places.putLast(thread)
    }
    const held = connection.held ?? []
    connection.held = undefined
    for (const [at, received] of held.entries()) {
      if (!canTake(thread, received)) {
        connection.held = held.slice(at)
        connection.waitsFor = 'idle'
        return
      }
      this.#deal(connection, received)
    }
  }

  #deal(connection: DealtConnection, { bytes, message }: ReceivedMessage): void {
    const { thread, epoch, unwrittenBytes } = connection
    if (thread === undefined) return
    this.#followUpload(connection, message)
    connection.last = thread.count(connection.state === 'idle')
    if (connection.state === 'idle') {
      connection.state = 'waiting'
      if (this.#observed) connection.request = { bytes, since: turnTime() }
    }
    connection.unwrittenBytes = 0
    this.#outlet.deal(thread, epoch, bytes, unwrittenBytes)
  }

  /** Deals connections that wait for a place to a thread, oldest first. */
  #dealQueued(thread: ThreadState): void {
    for (let first = this.#places.next(thread); first !== undefined; first = this.#places.next(thread)) {
      this.#assign(first, thread)
    }
  }

  /** Passes a notice to the thread that has the connection; a disconnect ends it. */
  #notice(epoch: DealtEpoch, bytes: Buffer, message: Message): void {
    const connection = epoch.connections.get(message.connectionId)
    const left = message.headers.own('DOWNLOAD_CREDITS') === undefined
    if (connection === undefined) return this.#noticeOfUnknown(epoch, bytes, left ? message.connectionId : undefined)
    if (connection.held !== undefined && !left) connection.held.push({ bytes, message })
    else if (connection.thread !== undefined) {
      connection.thread.count(false)
      this.#outlet.deal(connection.thread, epoch, bytes, 0)
    }
    if (left) {
      this.#observeEnd(connection.held?.[0])
      for (const held of connection.held ?? []) this.#drop(epoch, held.message)
      this.#remove(connection)
    }
  }

  /** Passes a notice to the thread that closed its connection. `left`: the connection's id if it is a disconnect. */
  #noticeOfUnknown(epoch: DealtEpoch, bytes: Buffer, left: number | undefined): void {
    const thread = left === undefined ? undefined : epoch.closed.get(left)
    if (thread === undefined) this.counters.ignored++
    else {
      thread.count(false)
      this.#outlet.deal(thread, epoch, bytes, 0)
    }
    if (left === undefined) return
    epoch.left.delete(left)
    this.#outlet.leftEnded(epoch, left)
  }

  #endConnections(thread: ThreadState, epoch: DealtEpoch, clean = false): void {
    for (const connection of epoch.connections.values()) {
      if (connection.thread !== thread) continue
      if (clean && connection.state === 'idle' && connection.held === undefined) {
        this.#remove(connection)
        continue
      }
      for (const path of connection.uploads ?? []) this.#outlet.deleteUpload(epoch, path)
      // A thread that lost Mongrel2 may be the first to notice the end of the epoch: then the close would not arrive either.
      leaveOpen(connection)
      if (connection.state === 'deferred') {
        // The holder of its token can still answer.
        this.#observeEnd(connection.request)
        this.#remove(connection)
        epoch.closed.add(connection.id, performance.now())
        continue
      }
      const unanswered = connection.state === 'waiting' || connection.held !== undefined
      this.#end(connection, unanswered && connection.state !== 'answering' ? 502 : undefined)
    }
  }

  #refuse(connection: DealtConnection): void {
    this.counters.rejected++
    this.#end(connection, connection.state === 'answering' ? undefined : 503)
  }

  #end(connection: DealtConnection, status: EndStatus): void {
    const { epoch, id, held = [] } = connection
    const request = this.#observed ? (connection.request ?? held[0]) : undefined
    for (const { message } of held) {
      this.#followUpload(connection, message)
      this.#discard(epoch, message)
    }
    this.#remove(connection)
    epoch.closed.add(id, performance.now())
    this.#outlet.end(connection, status, request)
  }

  /** Tells of a request whose end no thread will report: that of a lost thread, or one that waits here. */
  #observeEnd(request: OpenRequest | undefined): void {
    if (this.#observed && request !== undefined) this.#outlet.ended(request)
  }

  #remove(connection: DealtConnection): void {
    if (connection.waitsFor === 'place') this.#places.unqueue(connection)
    connection.held = undefined
    connection.epoch.connections.delete(connection.id)
    this.#leave(connection)
  }

  #leave(connection: DealtConnection): void {
    const { thread } = connection
    if (thread === undefined) return
    connection.thread = undefined
    thread.connections--
    if (thread.retiring && thread.connections === 0) this.#outlet.emptied(thread)
  }

  #followUpload(connection: DealtConnection, message: Message | undefined): void {
    if (message === undefined) return
    const { headers } = message
    if (headers.own('UPLOAD_STREAM') !== undefined) {
      connection.streaming = headers.own('UPLOAD_STREAM_DONE') === undefined
    }
    const path = storedPathOf(message)
    if (path === undefined) return
    connection.uploads ??= []
    connection.uploads.push(path)
  }

  /** Drops a message of a closed connection, and the file that it may name. */
  #drop(epoch: DealtEpoch, message: Message | undefined): void {
    this.counters.rejected++
    this.#discard(epoch, message)
  }

  #discard(epoch: DealtEpoch, message: Message | undefined): void {
    const path = message && storedPathOf(message)
    if (path !== undefined) this.#outlet.deleteUpload(epoch, path)
  }
}

/** Remembers a connection for the next epoch if something is open on it. */
function leaveOpen({ epoch, id, sender, state, held }: DealtConnection): void {
  if (state !== 'idle' || held !== undefined) leave(epoch.left, id, sender, state === 'deferred')
}
