import { describe, expect, it } from 'vitest'
import { kindOf, type MessageKind } from '../../../src/connection/request-semantics.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { PROTOCOLS, renderCredits, renderDisconnect, renderMessage, renderRequest } from '../support/message.ts'

const REMOTE_ADDR = '192.0.2.7'

const KINDS: [what: string, message: Buffer, kind: MessageKind][] = [
  ['GET /', renderRequest(), 'request'],
  ['PROPFIND /', renderRequest({ method: 'PROPFIND' }), 'request'],
  ['TRACE /', renderRequest({ method: 'TRACE' }), 'request'],
  ['JSON /x HTTP/1.1', renderRequest({ method: 'JSON', target: '/x' }), 'request'],
  ['XML /x HTTP/1.0', renderRequest({ method: 'XML', target: '/x', version: 'HTTP/1.0' }), 'request'],
  ['WEBSOCKET /x HTTP/1.1', renderRequest({ method: 'WEBSOCKET', target: '/x' }), 'request'],
  ['GET @* HTTP/1.1', renderRequest({ target: '@*' }), 'request'],
  ['a flags header of a client', renderRequest({ method: 'WEBSOCKET', headers: { flags: '0x81' } }), 'request'],
  ['no METHOD', renderRequest({ headers: { METHOD: undefined } }), 'request'],
  ['a handshake', renderRequest({ method: 'WEBSOCKET_HANDSHAKE', body: 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' }), 'handshake'],
  ['a frame', renderRequest({ method: 'WEBSOCKET', headers: { FLAGS: '0x81' }, body: 'hello' }), 'frame'],
  ['a disconnect notice', renderDisconnect(1), 'notice'],
  ['a disconnect notice in a tnetstring', renderDisconnect(1, 'tnetstring'), 'notice'],
  ['a credits notice', renderCredits(1, 100), 'notice'],
  [
    'a notice that a client wrote to a route named @',
    renderMessage({ path: '@*', headers: { METHOD: 'JSON', PATH: '@*', REMOTE_ADDR }, body: '{"type":"disconnect"}' }),
    'socket',
  ],
  [
    'a message to a JSON socket',
    renderMessage({ path: '@chat', headers: { METHOD: 'JSON', PATH: '@chat', REMOTE_ADDR }, body: '{}' }),
    'socket',
  ],
  [
    'a message to an XML socket',
    renderMessage({ path: '<x', headers: { METHOD: 'XML', PATH: '<x', REMOTE_ADDR }, body: '<x/>' }),
    'socket',
  ],
]

describe('kindOf', () => {
  it.each(KINDS)('takes %s for what it is', (_what, message, kind) => {
    expect(kindOf(parseMessage(message))).toBe(kind)
  })

  it.each(PROTOCOLS)('is not misled by what clients can write as header names in %s', (protocol) => {
    const headers = { method: 'JSON', path: '@*', flags: '0x81', remote_addr: '' }
    expect(kindOf(parseMessage(renderRequest({ headers, protocol })))).toBe('request')
  })
})
