import { describe, expect, it } from 'vitest'
import { semanticsOf } from '../../../src/connection/request-semantics.ts'
import { listItems } from '../../../src/wire/http.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { renderRequest } from '../support/message.ts'

describe('semanticsOf', () => {
  it.each<[version: string, connection: string | string[] | undefined, persistent: boolean]>([
    ['HTTP/1.1', undefined, true],
    ['HTTP/1.1', 'keep-alive', true],
    ['HTTP/1.1', 'close', false],
    ['HTTP/1.1', 'Close', false],
    ['HTTP/1.1', 'upgrade, close ', false],
    ['HTTP/1.1', ['upgrade', 'close'], false],
    ['HTTP/1.1', 'disclose', true],
    ['HTTP/1.0', undefined, false],
    ['HTTP/1.0', 'keep-alive', true],
    ['HTTP/1.0', 'Keep-Alive', true],
    ['HTTP/1.0', 'keep-alive, close', false],
    ['HTTP/1.0', 'close', false],
  ])('of %s with Connection %j', (version, connection, persistent) => {
    const message = parseMessage(renderRequest({ method: 'HEAD', version, headers: { connection } }))
    expect(semanticsOf(message)).toEqual({ method: 'HEAD', http10: version === 'HTTP/1.0', persistent, single: false })
  })

  it('takes a request in chunks for the last one of its connection', () => {
    const headers = { 'transfer-encoding': 'chunked' }
    expect(semanticsOf(parseMessage(renderRequest({ headers })))).toMatchObject({ http10: false, persistent: false })
  })

  it('takes a message without VERSION for one of a client that knows no chunks', () => {
    expect(semanticsOf(parseMessage(renderRequest({ headers: { VERSION: undefined } })))).toMatchObject({
      http10: true,
      persistent: false,
    })
  })
})

describe('listItems', () => {
  it.each([
    ['', []],
    ['a', ['a']],
    ['A,b', ['a', 'b']],
    [' a , ,\tb,', ['a', 'b']],
  ])('of %j', (value, items) => {
    expect(listItems(value)).toEqual(items)
  })
})
