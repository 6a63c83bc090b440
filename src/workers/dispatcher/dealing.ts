import { leave } from '../../connection/closed-connections.ts'
import { uploadHeadersOf } from '../../exchange/request/framing.ts'
import { type Message, parseEnvelope, parseMessage } from '../../wire/message.ts'
import { DealtConnection, type ReceivedMessage } from './dealt-connection.ts'
import type { DealtEpoch } from './dealt-epoch.ts'
import type { Slot } from './slot.ts'

/** Messages of one connection that wait at most. */
const MOST_HELD = 128

/**
 * Messages without these words in them are passed on without a look at their headers, which costs less than half as much. A client can
 * write them, and then they are looked at.
 */
const NOTICE_PATH = '@*'
const STREAMED = Buffer.from('UPLOAD_STREAM')
const STORED = Buffer.from('x-mongrel2-upload-')
/** Of a body that Mongrel2 stores, both messages have it. */
const UPLOAD_START = 'x-mongrel2-upload-start'

/** What an end tells the client: that nobody answered, that nobody can, or nothing, since an answer has begun or none is awaited. */
export type EndStatus = 502 | 503 | undefined

/** What dealing brings about. */
export interface DealingOutlet {
  /** @param balance Bytes that Mongrel2 has not written yet; of interest with a connection's first message only. */
  deal(slot: Slot, epoch: DealtEpoch, message: Buffer, balance: number): void
  /** Asks a slot to give up a connection if nothing is open on it; it answers by `handedOver`. */
  askHandOver(slot: Slot, connection: DealtConnection): void
  /** Ends a connection in place of the slot that had it. */
  end(connection: DealtConnection, status: EndStatus): void
  /** A part of a body came for a connection that was ended. */
  partOfEnded(epoch: DealtEpoch, message: Message): void
  /** The client of a connection that nobody has (any more) has left. */
  leftEnded(epoch: DealtEpoch, id: number): void
  /** The file of a stored body will not be read by anybody. */
  deleteUpload(epoch: DealtEpoch, path: string): void
  /** A slot has lost the last of its connections. */
  emptied(slot: Slot): void
}

/** What a slot reports of one of its connections; `idle` and `forgotten` hold for the messages that it had seen. */
export type ConnectionReport = 'answering' | 'idle' | 'deferred' | 'closed' | 'forgotten'

/** What has been counted since the start. */
export interface DealingCounters {
  messages: number
  /** Requests that got a 503, and messages of connections that are closed. */
  rejected: number
  /** Notices of connections that nobody knows (any more). */
  ignored: number
}

/**
 * Deals messages to slots: those of one connection to the same one, in their order, a new connection to the slot with the least in
 * flight, to each in turn where several have as little. It knows of each connection which slot has it and whether an answer has begun,
 * so that no client is left waiting when a slot ends.
 */
export class Dealing {
  readonly counters: DealingCounters = { messages: 0, rejected: 0, ignored: 0 }
  /** In the order in which they got their last new connection. */
  readonly #slots = new Set<Slot>()
  readonly #epochs = new Set<DealtEpoch>()
  readonly #maxInFlight: number
  readonly #maxQueued: number
  readonly #outlet: DealingOutlet
  #queued = 0
  #tickets = 0

  /**
   * @param maxInFlight Requests that a slot gets at once.
   * @param maxQueued Requests that wait for a place when all slots have so many.
   */
  constructor(maxInFlight: number, maxQueued: number, outlet: DealingOutlet) {
    this.#maxInFlight = maxInFlight
    this.#maxQueued = maxQueued
    this.#outlet = outlet
  }

  /** Connections that state is kept for. */
  get connections(): number {
    let count = 0
    for (const epoch of this.#epochs) count += epoch.connections.size
    return count
  }

  /** Requests that wait for a place. */
  get queued(): number {
    return this.#queued
  }

  begin(epoch: DealtEpoch): void {
    this.#epochs.add(epoch)
  }

  /** That Mongrel2 is gone, and with it its clients. */
  end(epoch: DealtEpoch): void {
    this.#epochs.delete(epoch)
    for (const connection of epoch.connections.values()) {
      for (const { message } of connection.held ?? []) this.#drop(epoch, message)
      leaveOpen(connection)
      this.#remove(connection)
    }
    for (const slot of this.#slots) slot.attached.delete(epoch)
  }

  /** Closes what the epoch before has left open, for certain at the same Mongrel2: nothing else will come of it. */
  closeLeft(epoch: DealtEpoch): void {
    for (const [id, { sender, deferred }] of epoch.left) {
      if (deferred) continue
      epoch.left.delete(id)
      this.#end(new DealtConnection(epoch, id, sender), undefined)
    }
  }

  /** A slot has come up; it gets messages of the epochs that it is attached to. */
  add(slot: Slot): void {
    this.#slots.add(slot)
  }

  /** A slot can answer to an epoch. */
  attach(slot: Slot, epoch: DealtEpoch): void {
    if (!this.#slots.has(slot)) return
    slot.attached.add(epoch)
    this.#fill(slot)
  }

  /** A slot cannot answer to an epoch any more: its connections there end. */
  detach(slot: Slot, epoch: DealtEpoch): void {
    slot.attached.delete(epoch)
    this.#endConnections(slot, epoch)
  }

  /** A slot gets no new connections any more; it keeps what it has. */
  withdraw(slot: Slot): void {
    this.#slots.delete(slot)
    slot.attached.clear()
    if (this.#slots.size > 0) return
    for (const epoch of this.#epochs) for (const connection of epoch.waiting) this.#refuse(connection)
  }

  /**
   * A slot is gone, and no byte of it is still to come: its connections end.
   *
   * @param clean Whether it had delivered everything: then those on which nothing is open stay, for whoever gets their next request.
   */
  remove(slot: Slot, clean = false): void {
    for (const epoch of this.#epochs) this.#endConnections(slot, epoch, clean)
    this.withdraw(slot)
    if (clean) return
    for (const connection of slot.recentlyClosed) {
      if (this.#epochs.has(connection.epoch)) this.#outlet.end(connection, undefined)
    }
  }

  /** A slot is to be left: what it has moves to others as soon as nothing is open on it. */
  retire(slot: Slot): void {
    slot.retiring = true
    if (slot.connections === 0) this.#outlet.emptied(slot)
  }

  /** @throws MalformedError when the bytes are no message. */
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
        // An answer to this request would be taken for the answer to the one that was left open.
        this.#drop(epoch, message)
        return this.#end(connection, undefined)
      }
      epoch.connections.set(connectionId, connection)
    }
    this.#take(connection, { bytes, message })
  }

  /** A slot says how much it works on, having seen so many messages. */
  report(slot: Slot, seen: number, inFlight: number): void {
    slot.report(seen, inFlight)
    this.#fill(slot)
  }

  /** A slot says what has become of a connection, having seen so many messages. */
  reportConnection(slot: Slot, epoch: DealtEpoch, id: number, report: ConnectionReport, seen: number): void {
    const connection = epoch.connections.get(id)
    if (connection?.slot !== slot) return
    switch (report) {
      case 'answering':
      case 'deferred':
        connection.state = report
        break
      case 'idle':
        // What was said before is heard after that it was left to others.
        if (connection.state === 'deferred') break
        // What came behind has found everything before it answered.
        connection.state = connection.last > seen ? 'waiting' : 'idle'
        if (connection.state !== 'idle') break
        connection.uploads = undefined
        if (connection.waitsFor === 'idle') this.#move(connection)
        break
      case 'closed':
        epoch.closed.add(id, performance.now(), slot)
        slot.close(connection, performance.now())
        for (const { message } of connection.held ?? []) this.#drop(epoch, message)
        this.#remove(connection)
        break
      case 'forgotten':
        // Asked for, it goes by the answer.
        if (connection.last <= seen && connection.held === undefined) this.#remove(connection)
    }
  }

  /** A slot gives up a connection that it was asked for, with its balance; or keeps it, when that is undefined. */
  handedOver(slot: Slot, epoch: DealtEpoch, id: number, balance: number | undefined): void {
    const connection = epoch.connections.get(id)
    if (connection?.slot !== slot || connection.waitsFor !== 'handOver') return
    connection.waitsFor = undefined
    if (balance !== undefined) {
      this.#leave(connection)
      connection.balance = balance
    } else if (!canTakeHeld(slot, connection)) return this.#refuse(connection)
    this.#place(connection)
  }

  #take(connection: DealtConnection, received: ReceivedMessage): void {
    const { slot } = connection
    if (connection.held !== undefined) {
      if (connection.held.length >= MOST_HELD) return this.#refuse(connection)
      connection.held.push(received)
    } else if (connection.state === 'idle') {
      connection.held = [received]
      this.#move(connection)
    } else if (slot !== undefined && !canTake(slot, received)) {
      connection.held = [received]
      connection.waitsFor = 'idle'
    } else this.#deal(connection, received)
  }

  /** Deals what a connection holds, by another slot if that is better. */
  #move(connection: DealtConnection): void {
    const { slot } = connection
    if (slot !== undefined && this.#hasBetter(slot, connection)) {
      connection.waitsFor = 'handOver'
      this.#outlet.askHandOver(slot, connection)
    } else this.#place(connection)
  }

  /** Deals what a connection holds, when there is a place for it. */
  #place(connection: DealtConnection): void {
    const { epoch } = connection
    const slot = connection.slot ?? this.#pick(connection)
    if (slot !== undefined && slot.inFlight < this.#maxInFlight) return this.#settle(connection, slot)
    if (this.#slots.size === 0 || this.#queued >= this.#maxQueued) return this.#refuse(connection)
    connection.waitsFor = 'place'
    connection.ticket = this.#tickets++
    this.#queued++
    const waiting = connection.slot?.waiting ?? epoch.waiting
    waiting.add(connection)
  }

  #settle(connection: DealtConnection, slot: Slot): void {
    if (connection.slot === undefined) {
      connection.slot = slot
      slot.connections++
      // Among equals the first is picked: the next connection is another's.
      if (this.#slots.delete(slot)) this.#slots.add(slot)
    }
    const held = connection.held ?? []
    connection.held = undefined
    for (const [at, received] of held.entries()) {
      if (!canTake(slot, received)) {
        connection.held = held.slice(at)
        connection.waitsFor = 'idle'
        return
      }
      this.#deal(connection, received)
    }
  }

  #deal(connection: DealtConnection, { bytes, message }: ReceivedMessage): void {
    const { slot, epoch, balance } = connection
    if (slot === undefined) return
    this.#followUpload(connection, message)
    connection.last = slot.count(connection.state === 'idle')
    if (connection.state === 'idle') connection.state = 'waiting'
    connection.balance = 0
    this.#outlet.deal(slot, epoch, bytes, balance)
  }

  /**
   * The slot with the least in flight, of those the one with the fewest connections, and of those the one that has waited longest for a
   * connection. One that is to be left only where there is no other.
   */
  #pick(connection: DealtConnection): Slot | undefined {
    let best: Slot | undefined
    for (const slot of this.#slots) {
      if (!slot.attached.has(connection.epoch) || !canTakeHeld(slot, connection)) continue
      if (best === undefined || isBetter(slot, best)) best = slot
    }
    return best
  }

  /** Whether a connection whose slot is to be left, or is full, would be taken by another; or has to go. */
  #hasBetter(slot: Slot, connection: DealtConnection): boolean {
    if (!canTakeHeld(slot, connection)) return true
    if (!slot.retiring && slot.inFlight < this.#maxInFlight) return false
    const best = this.#pick(connection)
    return best !== undefined && best !== slot && !best.retiring && (slot.retiring || best.inFlight < this.#maxInFlight)
  }

  /** Gives a slot what waits for a place, in the order in which it came. */
  #fill(slot: Slot): void {
    while (this.#queued > 0 && slot.inFlight < this.#maxInFlight) {
      let first = firstOf(slot.waiting)
      for (const epoch of slot.attached) {
        const connection = firstFor(slot, epoch.waiting)
        if (connection === undefined || (slot.retiring && this.#hasBetter(slot, connection))) continue
        if (first === undefined || connection.ticket < first.ticket) first = connection
      }
      if (first === undefined) return
      this.#unqueue(first)
      this.#settle(first, slot)
    }
  }

  /** A notice changes nothing about who has a connection, but a disconnect ends it. */
  #notice(epoch: DealtEpoch, bytes: Buffer, message: Message): void {
    const connection = epoch.connections.get(message.connectionId)
    const left = message.headers.own('DOWNLOAD_CREDITS') === undefined
    if (connection === undefined) return this.#noticeOfUnknown(epoch, bytes, left ? message.connectionId : undefined)
    if (connection.held !== undefined && !left) connection.held.push({ bytes, message })
    else if (connection.slot !== undefined) {
      connection.slot.count(false)
      this.#outlet.deal(connection.slot, epoch, bytes, 0)
    }
    if (left) {
      for (const held of connection.held ?? []) this.#drop(epoch, held.message)
      this.#remove(connection)
    }
  }

  /**
   * A notice of a connection that no slot has any more. The one that closed it wants to know when Mongrel2 has delivered the rest.
   *
   * @param left Its number, when the notice says that it is gone.
   */
  #noticeOfUnknown(epoch: DealtEpoch, bytes: Buffer, left: number | undefined): void {
    const slot = left === undefined ? undefined : epoch.closed.get(left)
    if (slot === undefined) this.counters.ignored++
    else {
      slot.count(false)
      this.#outlet.deal(slot, epoch, bytes, 0)
    }
    if (left === undefined) return
    epoch.left.delete(left)
    this.#outlet.leftEnded(epoch, left)
  }

  #endConnections(slot: Slot, epoch: DealtEpoch, clean = false): void {
    for (const connection of epoch.connections.values()) {
      if (connection.slot !== slot) continue
      if (clean && connection.state === 'idle' && connection.held === undefined) {
        this.#remove(connection)
        continue
      }
      for (const path of connection.uploads ?? []) this.#outlet.deleteUpload(epoch, path)
      // A slot that cannot reach Mongrel2 may be the first to see what ends the epoch, and then the end does not arrive either.
      leaveOpen(connection)
      if (connection.state === 'deferred') {
        // Whoever has its token can still answer, and its client gets nothing else.
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
    for (const { message } of held) {
      this.#followUpload(connection, message)
      this.#discard(epoch, message)
    }
    this.#remove(connection)
    epoch.closed.add(id, performance.now())
    this.#outlet.end(connection, status)
  }

  #remove(connection: DealtConnection): void {
    if (connection.waitsFor === 'place') this.#unqueue(connection)
    connection.held = undefined
    connection.epoch.connections.delete(connection.id)
    this.#leave(connection)
  }

  #leave(connection: DealtConnection): void {
    const { slot } = connection
    if (slot === undefined) return
    connection.slot = undefined
    slot.connections--
    if (slot.retiring && slot.connections === 0) this.#outlet.emptied(slot)
  }

  #unqueue(connection: DealtConnection): void {
    const waiting = connection.slot?.waiting ?? connection.epoch.waiting
    waiting.delete(connection)
    connection.waitsFor = undefined
    this.#queued--
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

  /** What comes from a connection that is closed is not looked at, but for the file it may leave behind. */
  #drop(epoch: DealtEpoch, message: Message | undefined): void {
    this.counters.rejected++
    this.#discard(epoch, message)
  }

  #discard(epoch: DealtEpoch, message: Message | undefined): void {
    const path = message && storedPathOf(message)
    if (path !== undefined) this.#outlet.deleteUpload(epoch, path)
  }
}

/** The file of a body that is complete: whoever gets its message deletes it. */
function storedPathOf(message: Message): string | undefined {
  if (message.headers.first('x-mongrel2-upload-done') === undefined) return undefined
  const upload = uploadHeadersOf(message)
  return upload.stage === 'done' ? upload.path : undefined
}

/** Remembers a connection beyond its epoch if something is open on it. */
function leaveOpen({ epoch, id, sender, state, held }: DealtConnection): void {
  if (state !== 'idle' || held !== undefined) leave(epoch.left, id, sender, state === 'deferred')
}

function isBetter(slot: Slot, than: Slot): boolean {
  if (slot.retiring !== than.retiring) return than.retiring
  return slot.inFlight < than.inFlight || (slot.inFlight === than.inFlight && slot.connections < than.connections)
}

/** Whether a slot can do what a message asks for: the file of a stored body is not everywhere. */
function canTake(slot: Slot, { message }: ReceivedMessage): boolean {
  return slot.seesUploads || message?.headers.first(UPLOAD_START) === undefined
}

function canTakeHeld(slot: Slot, { held = [] }: DealtConnection): boolean {
  return slot.seesUploads || held.every((received) => canTake(slot, received))
}

/** The first of the connections that wait which a slot can take. */
function firstFor(slot: Slot, waiting: ReadonlySet<DealtConnection>): DealtConnection | undefined {
  for (const connection of waiting) if (canTakeHeld(slot, connection)) return connection
  return undefined
}

function firstOf<T>(set: ReadonlySet<T>): T | undefined {
  for (const item of set) return item
  return undefined
}
