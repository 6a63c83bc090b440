import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { parseReply, renderControl, renderReply } from '../../../src/wire/reply.ts'

const parse = (bytes: string) => parseReply(Buffer.from(bytes, 'latin1'), 128)

describe('parseReply', () => {
  it('reads what renderReply writes, and a reply that was not rendered', () => {
    const connectionIds = Array.from({ length: 128 }, (_, n) => n * n)
    const payload = Buffer.from([0, 255, 44, 32])
    const pieces = [payload.subarray(0, 1), new Uint8Array(payload.subarray(1))]
    const parsed = { sender: 'a-1', connectionIds, content: { payload } }
    for (const each of [[payload], pieces, [new Uint8Array(payload)]]) {
      const reply = { sender: 'a-1', connectionIds, payload: each }
      expect(parseReply(reply, 128)).toEqual(parsed)
      expect(parseReply(renderReply(reply), 128)).toEqual(parsed)
    }
  })

  it('refuses more connections than Mongrel2 takes', () => {
    const reply = { sender: 'a', connectionIds: [1, 2, 3], payload: [] }
    for (const each of [reply, renderReply(reply)])
      expect(() => parseReply(each, 2)).toThrow('expected at most 2 connections, got 3')
  })

  it.each([{ 'keep-alive': true }, { credits: 0 }, { credits: 1000 }, { cancel: true }] as const)(
    'reads what renderControl writes: %j',
    (control) => {
      expect(parseReply(renderControl('a', [1, 2], control), 128)).toEqual({
        sender: 'a',
        connectionIds: [1, 2],
        content: { control },
      })
    },
  )

  it('takes any value for keep-alive and cancel, and a blank behind the list', () => {
    expect(parse('a 3:X 1, 23:3:ctl,13:6:cancel,1:0#}]')).toEqual({
      sender: 'a',
      connectionIds: [1],
      content: { control: { cancel: true } },
    })
    expect(parse('a 2:1 , x')).toEqual({ sender: 'a', connectionIds: [1], content: { payload: Buffer.from('x') } })
  })

  it.each([
    ['nothing', ''],
    ['an underscore in SENDER', 'a_b 1:1, x'],
    ['no SENDER', ' 1:1, x'],
    ['a length that is too short', 'a 1:12, x'],
    ['a length that is too long', 'a 3:12, x'],
    ['no connections', 'a 0:, x'],
    ['two blanks', 'a 4:1  2, x'],
    ['no number', 'a 1:x, x'],
    ['too many connections', `a ${'1 '.repeat(129).length}:${'1 '.repeat(129)}, x`],
    ['an extended one that is no list', 'a 3:X 1, 3:ctl,'],
    ['an extended one with another key', 'a 3:X 1, 25:5:other,13:6:cancel,1:0#}]'],
    ['an extended one with a float', 'a 3:X 1, 26:3:ctl,16:7:credits,3:1.5^}]'],
    ['an extended one with nothing known', 'a 3:X 1, 21:3:ctl,11:4:what,1:0#}]'],
    ['an extended one that is cut', 'a 3:X 1, 23:3:ctl,13:6:cancel'],
  ])('refuses %s', (_what, bytes) => {
    expect(() => parse(bytes)).toThrow(MalformedError)
  })
})
