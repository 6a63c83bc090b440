import { describe, expect, it } from 'vitest'
import { parseToken, renderToken, type Token } from '../../../src/connection/token.ts'

const TOKEN: Token = {
  kind: 'request',
  recvSpec: 'tcp://127.0.0.1:9998',
  socketId: '4711.12',
  sender: '34f9ceee-cd52-4b7f-b197-88bf2f0ec378',
  id: 42,
  madeAt: 1_700_000_000_000,
  deadline: 1_700_000_060_000,
  method: 'GET',
  http10: false,
  flowControl: true,
}

/** A token with one value of its list in the place of another. */
function forged(at: number, value: unknown): string {
  const values: unknown[] = JSON.parse(Buffer.from(renderToken(TOKEN).slice(3), 'base64url').toString())
  values[at] = value
  return `m1.${Buffer.from(JSON.stringify(values)).toString('base64url')}`
}

describe('a token', () => {
  it.each([
    ['of a request', TOKEN],
    ['of a socket', { ...TOKEN, kind: 'websocket', deadline: 0, method: '' }],
    ['of a Mongrel2 whose life has no name', { ...TOKEN, socketId: undefined }],
  ] satisfies [string, Token][])('%s comes back as it was, from a string that fits a URL', (_, token) => {
    expect(renderToken(token)).toMatch(/^[\w.-]+$/)
    expect(parseToken(renderToken(token))).toEqual(token)
  })

  it.each([
    ['no string', 7],
    ['nothing', ''],
    ['another version', renderToken(TOKEN).replace('m1.', 'm2.')],
    ['cut short', renderToken(TOKEN).slice(0, -1)],
    ['padded', `${renderToken(TOKEN)}=`],
    ['with a line behind it', `${renderToken(TOKEN)}\n`],
    ['no list', `m1.${Buffer.from('{"id":1}').toString('base64url')}`],
    ['too long a list', forged(10, 'more')],
    [
      'written in another way',
      `m1.${Buffer.from(` ${Buffer.from(renderToken(TOKEN).slice(3), 'base64url')}`).toString('base64url')}`,
    ],
    ['of an unknown kind', forged(0, 'anything')],
    ['with a SENDER that would begin another reply', forged(3, 'a 3:1 2, x')],
    ['with an id that names several', forged(4, '1 2')],
    ['with a negative id', forged(4, -1)],
    ['with an id beyond what Mongrel2 counts', forged(4, 2 ** 31)],
    ['with half an id', forged(4, 1.5)],
    ['with a time that is none', forged(6, null)],
    ['with a method that is none', forged(7, 'GET /')],
    ['with a number in the place of a truth', forged(8, 1)],
    ['very long', `m1.${'A'.repeat(3000)}`],
  ])('is refused when it is %s', (_, text) => {
    expect(() => parseToken(text)).toThrow(expect.objectContaining({ code: 'invalid_token' }))
  })
})
