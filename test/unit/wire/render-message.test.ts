import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createMessage, cutMessage, parseMessage, renderMessage } from '../../../src/wire/message.ts'

describe.each(['json', 'tnetstring'] as const)('renderMessage with headers as %s', (protocol) => {
  it('writes what parseMessage reads', () => {
    const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })
    const names = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
    const fields = fc.dictionary(names, fc.oneof(latin1, fc.array(latin1, { minLength: 2, maxLength: 5 })))
    fc.assert(
      fc.property(fields, fc.uint8Array(), fc.nat(), (values, body, id) => {
        const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one]))
        const envelope = { sender: 'a-sender', connectionId: id, path: '/a' }
        const message = createMessage(envelope, ['METHOD', 'GET', ...pairs], Buffer.from(body))
        const parsed = parseMessage(renderMessage(message, protocol))
        expect(parsed.headers.own('METHOD')).toBe('GET')
        expect([parsed.sender, parsed.connectionId, parsed.path]).toEqual(['a-sender', id, '/a'])
        expect(parsed.body.equals(body)).toBe(true)
        for (const [name, value] of Object.entries(values)) {
          expect(parsed.headers.all(name)).toEqual([value].flat())
          expect(message.headers.all(name)).toEqual([value].flat())
        }
      }),
    )
  })
})

describe('renderMessage', () => {
  it('escapes nothing but quotes and backslashes in JSON, as Mongrel2 does', () => {
    const message = createMessage({ sender: 's', connectionId: 1, path: '/' }, ['a', '"\\\t\xe9'], Buffer.from('b'))
    expect(renderMessage(message, 'json').toString('latin1')).toBe('s 1 / 14:{"a":"\\"\\\\\t\xe9"},1:b,')
  })
})

describe('cutMessage', () => {
  it('leaves out a body that is too long, as a link does that skips the rest', () => {
    const message = createMessage({ sender: 's', connectionId: 1, path: '/' }, ['METHOD', 'PUT'], Buffer.from('four'))
    expect(cutMessage(message, 4)).toBe(message)
    const cut = cutMessage(message, 3)
    expect({ cut: cut.cut, body: cut.body.length, method: cut.headers.own('METHOD') }).toEqual({
      cut: true,
      body: 0,
      method: 'PUT',
    })
  })
})
