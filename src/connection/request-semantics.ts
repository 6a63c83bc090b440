import { listItems } from '../wire/http.ts'
import { type Message, SINGLE_REQUEST } from '../wire/message.ts'

/** What a request says about the answer it wants. */
export interface RequestFacts {
  readonly method: string
  /** Whether the client speaks HTTP/1.0: it knows no chunks. */
  readonly http10: boolean
  /**
   * Whether the connection can carry another request: the client keeps it (RFC 9112, section 9.3), and the body came with a length. After one in
   * chunks Mongrel2 loses what it has read when the next large body begins, and that one's client would wait for ever.
   */
  readonly persistent: boolean
  /** Whether it is the only request of its connection all the same, as each is that a gateway passes on. The client is not told. */
  readonly single: boolean
}

/** Reads a request's facts. */
export function factsOf(message: Message): RequestFacts {
  const http10 = message.headers.own('VERSION') !== 'HTTP/1.1'
  const options = message.headers.all('connection').flatMap(listItems)
  const kept = !options.includes('close') && (!http10 || options.includes('keep-alive'))
  const chunked = message.headers.first('transfer-encoding') !== undefined
  // A WebSocket's handshake is a GET, which Mongrel2 does not say.
  const method = message.kind === 'handshake' ? 'GET' : (message.headers.own('METHOD') ?? '')
  const single = message.headers.own(SINGLE_REQUEST) !== undefined
  return { method, http10, persistent: kept && (single || !chunked), single }
}
