import { StreamUpload } from '../../exchange/upload/stream-upload.ts'
import type { Publisher } from '../../link/transport.ts'
import { overloaded, renderOutcome, workerLost } from '../../platform/outcomes.ts'
import type { Message } from '../../wire/message.ts'
import { CLOSE, type Reply, renderCloseDuringBody, renderControl, renderReply } from '../../wire/reply.ts'
import type { EndStatus } from './dealing.ts'
import type { DealtConnection } from './dealt-connection.ts'

/** When a close is said again, in milliseconds: Mongrel2 loses one while 16 messages wait for the client. */
const REPEAT_DELAY = 2000

const RESPONSES = { 502: renderOutcome(workerLost()), 503: renderOutcome(overloaded()) } as const

/** What is known of a connection that is to be ended. */
export type EndingConnection = Pick<DealtConnection, 'id' | 'sender' | 'streaming' | 'state'>

/** Ends connections of one Mongrel2 in place of the worker that had them, those of one turn together. */
export class Endings {
  readonly #publisher: Publisher
  #now: Reply[] = []
  #repeats: Reply[] = []
  /** Bodies that are thrown away as they come, by their connections: until then these are not closed. */
  readonly #bodies = new Map<number, StreamUpload>()

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  add(connection: EndingConnection, status: EndStatus): void {
    const { sender, id, streaming, state } = connection
    if (status !== undefined) this.#now.push(renderReply(sender, [id], [RESPONSES[status]]))
    if (streaming) return this.#drain(connection)
    const close = renderReply(sender, [id], [CLOSE])
    this.#now.push(close)
    if (state === 'answering') this.#repeats.push(close)
  }

  flush(): void {
    this.#publish(this.#now)
    const repeats = this.#repeats
    if (repeats.length > 0) setTimeout(() => this.#publish(repeats), REPEAT_DELAY).unref()
    this.#now = []
    this.#repeats = []
  }

  /** A part of a body came for a connection that was ended. */
  receive(message: Message): void {
    this.#bodies.get(message.connectionId)?.receive(message)
  }

  /** The client of a connection that was ended has left. */
  left(id: number): void {
    this.#bodies.get(id)?.lost(new Error('the client left'))
    this.#bodies.delete(id)
  }

  /** That Mongrel2 is gone. */
  lost(): void {
    for (const id of this.#bodies.keys()) this.left(id)
  }

  /** The client may write all of its body before it reads, and a close would take the answer away. */
  #drain(connection: EndingConnection): void {
    const { sender, id } = connection
    const body = new StreamUpload(
      { uploadWindow: 0, maxBodySize: 0, bodyTimeout: 0 },
      undefined,
      {
        grant: (credits) => this.#publish([renderControl(sender, [id], { credits })]),
        endUpload: () => {
          this.#bodies.delete(id)
          this.add({ ...connection, streaming: false }, undefined)
          this.flush()
        },
        single: false,
        outbox: { progress: 'delivered' },
        closeAfterUpload: () => {},
        closeNow: () => {
          this.left(id)
          this.#publish(renderCloseDuringBody(sender, id))
        },
      },
      () => {},
    )
    this.#bodies.set(id, body)
    body.drain()
  }

  #publish(replies: Reply[]): void {
    if (replies.length > 0) this.#publisher.publish(replies)
  }
}
