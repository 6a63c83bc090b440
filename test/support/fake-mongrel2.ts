import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Push, Subscriber } from 'zeromq'
import { type ParsedReply, parseReply } from '../unit/support/reply.ts'

/** Stands in for Mongrel2 where a test has to send what a real one cannot be made to: its two sockets, and nothing behind them. */
export async function startFakeMongrel2(): Promise<FakeMongrel2> {
  const directory = await mkdtemp(join(tmpdir(), 'fake-m2-'))
  const fake = new FakeMongrel2(directory)
  await fake.bind()
  return fake
}

export class FakeMongrel2 implements AsyncDisposable {
  /** What was published, in its order. */
  readonly replies: ParsedReply[] = []
  readonly #directory: string
  readonly #push = new Push({ linger: 0 })
  readonly #subscriber = new Subscriber({ linger: 0 })
  #reading: Promise<void> = Promise.resolve()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** As `SEND_SPEC,RECV_SPEC`. */
  get endpoint(): string {
    return `${this.#sendSpec},${this.#recvSpec}`
  }

  async bind(): Promise<void> {
    await this.#push.bind(this.#sendSpec)
    await this.#subscriber.bind(this.#recvSpec)
    this.#subscriber.subscribe('')
    this.#reading = this.#read()
  }

  /** Sends bytes as one message, or several as its parts. */
  async send(...parts: Uint8Array[]): Promise<void> {
    await this.#push.send(parts)
  }

  /** What the client of a connection would have received by now. */
  received(connectionId: number): string {
    return Buffer.concat(this.#payloadsFor(connectionId)).toString('latin1')
  }

  /** Whether a connection was closed: the reply to it that has no bytes. */
  closed(connectionId: number): boolean {
    return this.#payloadsFor(connectionId).some((payload) => payload.length === 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#push.close()
    this.#subscriber.close()
    await this.#reading
    await rm(this.#directory, { recursive: true })
  }

  async #read(): Promise<void> {
    // Mongrel2 takes each part for a reply.
    for await (const parts of this.#subscriber) for (const part of parts) this.replies.push(parseReply(part))
  }

  #payloadsFor(connectionId: number): Buffer[] {
    return this.replies.filter(({ targets }) => targets === String(connectionId)).map(({ payload }) => payload)
  }

  get #sendSpec(): string {
    return `ipc://${this.#directory}/send`
  }

  get #recvSpec(): string {
    return `ipc://${this.#directory}/recv`
  }
}
