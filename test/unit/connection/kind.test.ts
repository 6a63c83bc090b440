import { describe, expect, it } from 'vitest'
import { type Message, parseMessage } from '../../../src/wire/message.ts'
import {
  PROTOCOLS,
  renderCredits,
  renderDisconnect,
  renderMessage,
  renderPart,
  renderRequest,
} from '../support/message.ts'

const REMOTE_ADDR = '192.0.2.7'

const KINDS: [what: string, message: Buffer, kind: Message['kind']][] = [
  ['GET /', renderRequest(), 'request'],
  ['PROPFIND /', renderRequest({ method: 'PROPFIND' }), 'request'],
  ['TRACE /', renderRequest({ method: 'TRACE' }), 'request'],
  ['JSON /x HTTP/1.1', renderRequest({ method: 'JSON', target: '/x' }), 'request'],
  ['XML /x HTTP/1.0', renderRequest({ method: 'XML', target: '/x', version: 'HTTP/1.0' }), 'request'],
  ['WEBSOCKET /x HTTP/1.1', renderRequest({ method: 'WEBSOCKET', target: '/x' }), 'request'],
  ['GET @* HTTP/1.1', renderRequest({ target: '@*' }), 'request'],
  ['a flags header of a client', renderRequest({ method: 'WEBSOCKET', headers: { flags: '0x81' } }), 'request'],
  ['no METHOD', renderRequest({ headers: { METHOD: undefined } }), 'request'],
  ['the beginning of a streamed body', renderRequest({ method: 'PUT', headers: { UPLOAD_STREAM: '0' } }), 'streamed'],
  ['a part of a streamed body', renderPart(1, 4096, 'more'), 'part'],
  ['upload_stream of a client', renderRequest({ headers: { upload_stream: '0' } }), 'request'],
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

describe('the kind of a message', () => {
  it.each(KINDS)('takes %s for what it is', (_what, message, kind) => {
    expect(parseMessage(message).kind).toBe(kind)
  })

  it.each(PROTOCOLS)('is not misled by what clients can write as header names in %s', (protocol) => {
    const headers = { method: 'JSON', path: '@*', flags: '0x81', remote_addr: '' }
    expect(parseMessage(renderRequest({ headers, protocol })).kind).toBe('request')
  })
})
