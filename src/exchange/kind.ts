import type { Message } from '../wire/message.ts'

/** What a message is about. */
export type MessageKind = 'request' | 'notice' | 'handshake' | 'frame' | 'socket'

/**
 * Tells a message's kind. A client can write more than one would think: METHOD may be the literal `JSON` or `WEBSOCKET` of
 * a request line (`JSON /x HTTP/1.1`), and a route named `@` lets it send a message with the notices' PATH. What only
 * Mongrel2 can bring about decides: a notice has no REMOTE_ADDR, a frame has FLAGS, a message socket's has no VERSION.
 */
export function kindOf(message: Message): MessageKind {
  const { headers, path } = message
  if (path === '@*' && headers.own('REMOTE_ADDR') === undefined) return 'notice'
  switch (headers.own('METHOD')) {
    case 'WEBSOCKET_HANDSHAKE':
      return 'handshake'
    case 'WEBSOCKET':
      return headers.own('FLAGS') !== undefined ? 'frame' : 'request'
    case 'JSON':
    case 'XML':
      return headers.own('VERSION') !== undefined ? 'request' : 'socket'
    default:
      return 'request'
  }
}
