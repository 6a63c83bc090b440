import type { Message } from '../wire/message.ts'

/** What a message is about. */
export type MessageKind = 'request' | 'notice' | 'handshake' | 'frame' | 'socket'

/**
 * Tells a message's kind. A client can write more than one would think: METHOD may be the literal `JSON` or `WEBSOCKET` of
 * a request line (`JSON /x HTTP/1.1`), and a route named `@` lets it send a message with the notices' PATH. What only
 * Mongrel2 can bring about decides: a notice has no REMOTE_ADDR, a frame has FLAGS, a message socket's has no VERSION.
 */
export function kindOf(message: Message): MessageKind {
  const { own, path } = message
  if (path === '@*' && !own.has('REMOTE_ADDR')) return 'notice'
  switch (own.get('METHOD')) {
    case 'WEBSOCKET_HANDSHAKE':
      return 'handshake'
    case 'WEBSOCKET':
      return own.has('FLAGS') ? 'frame' : 'request'
    case 'JSON':
    case 'XML':
      return own.has('VERSION') ? 'request' : 'socket'
    default:
      return 'request'
  }
}
