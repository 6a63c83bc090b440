import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseMessage, renderMessage } from '../../../src/wire/message.ts'

describe.each(['json', 'tnetstring'] as const)('renderMessage with headers as %s', (protocol) => {
  it('writes what parseMessage reads', () => {
    const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })
    const names = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
    const fields = fc.dictionary(names, fc.oneof(latin1, fc.array(latin1, { minLength: 2, maxLength: 5 })))
    fc.assert(
      fc.property(fields, fc.uint8Array(), fc.nat(), (values, body, id) => {
        const message = renderMessage(
          { sender: 'a-sender', connectionId: id, path: '/a' },
          new Map(Object.entries(values)),
          body,
          protocol,
        )
        const parsed = parseMessage(message)
        expect([parsed.sender, parsed.connectionId, parsed.path]).toEqual(['a-sender', id, '/a'])
        expect(parsed.body.equals(body)).toBe(true)
        for (const [name, value] of Object.entries(values)) expect(parsed.headers.all(name)).toEqual([value].flat())
      }),
    )
  })
})

describe('renderMessage', () => {
  it('escapes nothing but quotes and backslashes in JSON, as Mongrel2 does', () => {
    const fields = new Map([['a', '"\\\t\xe9']])
    expect(
      renderMessage({ sender: 's', connectionId: 1, path: '/' }, fields, Buffer.from('b'), 'json').toString('latin1'),
    ).toBe('s 1 / 14:{"a":"\\"\\\\\t\xe9"},1:b,')
  })
})
