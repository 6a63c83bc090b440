import { STATUS_CODES } from 'node:http'
import type { Publisher } from '../link/link.ts'
import { renderHead } from '../wire/http.ts'
import { CLOSE, type Reply, renderCloseDuringBody, renderReply } from '../wire/reply.ts'
import type { EndStatus } from './dealing.ts'
import type { DealtConnection } from './dealt-connection.ts'

/**
 * While Mongrel2 waits for credits it does not look at a close, and with them it resets the connection if there is something that it
 * has not read: the answer has this time to arrive, in milliseconds.
 */
const ANSWER_TIME = 250
/** When a close is said again, in milliseconds: Mongrel2 loses one while 16 messages wait for the client. */
const REPEAT_DELAY = 2000

/** What is known of a connection that is to be ended. */
export type EndingConnection = Pick<DealtConnection, 'id' | 'sender' | 'streaming' | 'state'>

/** Ends connections of one Mongrel2 in place of the worker that had them, those of one turn together. */
export class Endings {
  readonly #publisher: Publisher
  #now: Reply[] = []
  #ends: Reply[] = []
  #repeats: Reply[] = []

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  add({ sender, id, streaming, state }: EndingConnection, status: EndStatus): void {
    if (status !== undefined) this.#now.push(renderReply(sender, [id], [responseOf(status)]))
    if (streaming) {
      this.#ends.push(...renderCloseDuringBody(sender, id))
      return
    }
    const close = renderReply(sender, [id], [CLOSE])
    this.#now.push(close)
    if (state === 'answering') this.#repeats.push(close)
  }

  flush(): void {
    this.#publish(this.#now)
    this.#later(this.#ends, ANSWER_TIME)
    this.#later(this.#repeats, REPEAT_DELAY)
    this.#now = []
    this.#ends = []
    this.#repeats = []
  }

  #later(replies: Reply[], delay: number): void {
    if (replies.length > 0) setTimeout(() => this.#publish(replies), delay).unref()
  }

  #publish(replies: Reply[]): void {
    if (replies.length > 0) this.#publisher.publish(replies)
  }
}

const RESPONSES = new Map<number, Buffer>()

/** Without a body, so that it answers any method. */
function responseOf(status: 502 | 503): Buffer {
  const known = RESPONSES.get(status)
  if (known !== undefined) return known
  const head = renderHead(status, STATUS_CODES[status] ?? '', [
    ...(status === 503 ? ([['retry-after', '1']] as const) : []),
    ['content-length', '0'],
    ['connection', 'close'],
  ])
  RESPONSES.set(status, head)
  return head
}
