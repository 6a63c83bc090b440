import { listItems } from '../wire/http.ts'
import { type Message, SINGLE_REQUEST } from '../wire/message.ts'

/** What a request requires of its response. */
export interface RequestSemantics {
  readonly method: string
  /** Whether the client speaks HTTP/1.0, which has no chunks. */
  readonly http10: boolean
  /** Whether the client keeps the connection open (RFC 9112, section 9.3), and Mongrel2 does: it loses input after a body in chunks. */
  readonly persistent: boolean
  /** Whether it is the only request of its connection, as with a gateway. The response does not say so. */
  readonly single: boolean
}

export function semanticsOf(message: Message): RequestSemantics {
  const http10 = message.headers.own('VERSION') !== 'HTTP/1.1'
  const options = message.headers.all('connection').flatMap(listItems)
  const kept = !options.includes('close') && (!http10 || options.includes('keep-alive'))
  const chunked = message.headers.first('transfer-encoding') !== undefined
  // Mongrel2 does not give the method of a WebSocket's handshake, which is GET.
  const method = message.kind === 'handshake' ? 'GET' : (message.headers.own('METHOD') ?? '')
  const single = message.headers.own(SINGLE_REQUEST) !== undefined
  return { method, http10, persistent: kept && (single || !chunked), single }
}
