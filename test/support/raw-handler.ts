import { Pull, XPublisher } from 'zeromq'
import { type Message, parseMessage } from '../../src/wire/message.ts'
import { type Control, renderControl, renderReply } from '../../src/wire/reply.ts'

/** A message as its handler sees it, in values that can be compared. Connections are numbered as they appear. */
export interface SeenMessage {
  readonly connection: number
  readonly path: string
  readonly own: Readonly<Record<string, string>>
  /** `name: value`, sorted by name. */
  readonly fields: readonly string[]
  readonly body: string
}

/** A handler that answers nothing by itself: its two sockets, for tests of what Mongrel2 sends and does. */
export class RawHandler implements Disposable {
  readonly #pull = new Pull()
  readonly #publisher = new XPublisher()
  readonly #messages: Message[] = []
  readonly #ids: number[] = []
  #wake: () => void = () => {}

  private constructor(endpoint: string) {
    const [sendSpec = '', recvSpec = ''] = endpoint.split(',')
    this.#publisher.connect(recvSpec)
    this.#pull.connect(sendSpec)
  }

  static async connect(endpoint: string): Promise<RawHandler> {
    const handler = new RawHandler(endpoint)
    await handler.#publisher.receive() // the subscription: from now on replies arrive
    void handler.#read()
    return handler
  }

  /** Numbers connections from 1 again. */
  forget(): void {
    this.#ids.length = 0
    this.#messages.length = 0
  }

  /** Messages that have come and not been read. */
  get waiting(): number {
    return this.#messages.length
  }

  /** Waits for the next message. */
  async next(): Promise<SeenMessage> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const { connectionId, path, headers, body } = this.#messages.shift() as Message
    if (!this.#ids.includes(connectionId)) this.#ids.push(connectionId)
    const fields: string[] = []
    headers.forEach((name, value) => {
      fields.push(`${name}: ${value}`)
    })
    return {
      connection: this.#ids.indexOf(connectionId) + 1,
      path,
      own: headers.ownEntries(),
      fields: fields.sort(),
      body: body.toString('latin1'),
    }
  }

  /** Publishes replies to one connection together, in one message of many parts. */
  async reply(connection: number, ...payloads: (string | Buffer)[]): Promise<void> {
    const id = this.#idOf(connection)
    await this.#publisher.send(payloads.map((payload) => replyTo([id], payload)))
  }

  async control(connection: number, control: Control): Promise<void> {
    await this.#publisher.send(renderControl('test', [this.#idOf(connection)], control))
  }

  /** Publishes one reply to several connections. */
  async replyToAll(connections: readonly number[], payload: string): Promise<void> {
    const ids = connections.map((connection) => this.#idOf(connection))
    await this.#publisher.send(replyTo(ids, payload))
  }

  /** Publishes bytes as they are. */
  async publish(bytes: string): Promise<void> {
    await this.#publisher.send(bytes)
  }

  [Symbol.dispose](): void {
    this.#pull.close()
    this.#publisher.close()
  }

  #idOf(connection: number): number {
    return this.#ids[connection - 1] ?? 900_000_000
  }

  async #read(): Promise<void> {
    for await (const parts of this.#pull) {
      for (const part of parts) this.#messages.push(parseMessage(part))
      this.#wake()
    }
  }
}

function replyTo(connectionIds: readonly number[], payload: string | Buffer): Buffer {
  return renderReply({ sender: 'test', connectionIds, payload: [Buffer.from(payload)] })
}
