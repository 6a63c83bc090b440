import { v4 } from 'uuid'
import { ReconnectingPublisher } from '../../link/reconnecting-publisher.ts'
import { zeromq } from '../../link/transports.ts'
import type { Logger } from '../../runtime/log.ts'
import { MalformedError } from '../../wire/malformed.ts'
import { type Message, parseMessage } from '../../wire/message.ts'
import { type EndingConnection, Endings } from '../../workers/dispatcher/endings.ts'
import type { Lane } from './relay.ts'

/** Clients that are known at most, those that spoke last: Mongrel2 does not always say that one is gone. */
const MOST_CLIENTS = 16_384

interface RelayedClient extends EndingConnection {
  readonly lane: Lane
}

/** The clients of one Handler, and on which lane each spoke last: if the app at its end dies, they would wait for ever. */
export class RelayedClients implements Disposable {
  readonly #connection: ReconnectingPublisher
  readonly #clients = new Map<number, RelayedClient>()

  /** @param recvSpec The Handler's. */
  constructor(recvSpec: string, logger: Logger) {
    this.#connection = new ReconnectingPublisher(zeromq, recvSpec, v4(), logger, () => {})
  }

  /** A message goes to a lane. */
  follow(bytes: Buffer, lane: Lane): void {
    const message = parse(bytes)
    if (message === undefined) return
    const { connectionId: id, sender, headers } = message
    const isNotice = message.kind === 'notice'
    if (isNotice && headers.own('DOWNLOAD_CREDITS') !== undefined) return
    this.#clients.delete(id)
    if (isNotice) return
    const streaming = headers.own('UPLOAD_STREAM') !== undefined && headers.own('UPLOAD_STREAM_DONE') === undefined
    // Nobody tells whether it has been answered: it may have been, in part.
    this.#clients.set(id, { id, sender, streaming, state: 'answering', lane })
    const [oldest] = this.#clients.keys()
    if (oldest !== undefined && this.#clients.size > MOST_CLIENTS) this.#clients.delete(oldest)
  }

  /** The app at the end of a lane has answered all it got. */
  release(lane: Lane): void {
    for (const client of this.#clients.values()) if (client.lane === lane) this.#clients.delete(client.id)
  }

  /** The app at the end of a lane has died: closes the connections that it may have left without an answer. */
  end(lane: Lane): void {
    const { publisher } = this.#connection
    if (publisher === undefined) return
    const endings = new Endings(publisher)
    for (const client of this.#clients.values()) if (client.lane === lane) endings.add(client, undefined)
    endings.flush()
    this.release(lane)
  }

  [Symbol.dispose](): void {
    this.#connection.end()
  }
}

/** Undefined for what is no message, which the app drops, too. */
function parse(bytes: Buffer): Message | undefined {
  try {
    return parseMessage(bytes)
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}
