import { StreamUpload } from '../../exchange/upload/stream-upload.ts'
import type { Publisher } from '../../link/transport.ts'
import type { Message } from '../../wire/message.ts'
import { closeReply, type Reply, renderCloseDuringBody, renderControl } from '../../wire/reply.ts'
import type { DealtConnection } from './state.ts'

/** Time until a close is repeated, in milliseconds: Mongrel2 loses it while 16 messages wait for the client. */
const REPEAT_DELAY = 2000

/** A connection to close. */
type ClosingConnection = Pick<DealtConnection, 'id' | 'sender' | 'streaming' | 'state'>

/** Answers and closes connections of one epoch in place of their worker, those of one turn together. */
export class ConnectionCloser {
  readonly #publisher: Publisher
  #now: Reply[] = []
  #repeats: Reply[] = []
  #turn: NodeJS.Immediate | undefined
  /** Bodies that are discarded, by connection ids; the end of the body closes the connection. */
  readonly #bodies = new Map<number, StreamUpload>()

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  /** @param answer The bytes of the answer; undefined if only the close goes out. */
  add(connection: ClosingConnection, answer: Buffer | undefined): void {
    const { sender, id, streaming, state } = connection
    this.#turn ??= setImmediate(() => this.flush())
    if (answer !== undefined) this.#now.push({ sender, connectionIds: [id], payload: [answer] })
    if (streaming) return this.#drain(connection)
    const close = closeReply(sender, [id])
    this.#now.push(close)
    if (state === 'answering') this.#repeats.push(close)
  }

  flush(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    this.#publish(this.#now)
    const repeats = this.#repeats
    if (repeats.length > 0) setTimeout(() => this.#publish(repeats), REPEAT_DELAY).unref()
    this.#now = []
    this.#repeats = []
  }

  /** Takes a part of a body for a connection that was ended. */
  receive(message: Message): void {
    this.#bodies.get(message.connectionId)?.receive(message)
  }

  /** Forgets a connection whose client has left. */
  left(id: number): void {
    this.#bodies.get(id)?.lost(new Error('the client left'))
    this.#bodies.delete(id)
  }

  /** Forgets all connections: Mongrel2 is gone. */
  lost(): void {
    for (const id of this.#bodies.keys()) this.left(id)
  }

  /** Discards the rest of a body: a client may write all of it before it reads, and a close would destroy the answer. */
  #drain(connection: ClosingConnection): void {
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
