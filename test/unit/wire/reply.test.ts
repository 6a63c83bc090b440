import { describe, expect, it } from 'vitest'
import { type Control, closeReply, piecesOf, renderControl, renderReply } from '../../../src/wire/reply.ts'
import { parseTnetstring } from '../../../src/wire/tnetstring.ts'
import { parseReply } from '../support/reply.ts'

const SENDER = '34f9ceee-cd52-4b7f-b197-88bf2f0ec378'

const many = (count: number) => Array.from({ length: count }, (_, index) => index + 1)
/** 1 to 9 are a digit each, 10 to 99 two, 100 to 128 three, with 127 blanks between them. */
const MANY_TARGETS_LENGTH = 9 + 90 * 2 + 29 * 3 + 127

describe('renderReply', () => {
  it.each<[what: string, ids: number[], payload: Uint8Array[], reply: string]>([
    ['one connection', [7], [Buffer.from('abc')], `${SENDER} 1:7, abc`],
    ['several connections', [7, 8, 1234], [Buffer.from('abc')], `${SENDER} 8:7 8 1234, abc`],
    ['pieces, joined', [12], [Buffer.from('a'), Buffer.from(''), new Uint8Array([98, 99])], `${SENDER} 2:12, abc`],
    ['any bytes', [1], [new Uint8Array([0, 255, 44, 13, 10])], `${SENDER} 1:1, \0\xff,\r\n`],
    ['the largest id', [2_147_483_647], [Buffer.from('x')], `${SENDER} 10:2147483647, x`],
    ['no pieces', [7], [], `${SENDER} 1:7, `],
  ])('renders a reply to %s', (_what, ids, payload, reply) => {
    const value = { sender: SENDER, connectionIds: ids, payload }
    expect(renderReply(value).toString('latin1')).toBe(reply)
    expect(Buffer.concat(piecesOf(value))).toEqual(renderReply(value))
  })

  it('names 128 connections', () => {
    const reply = { sender: 's', connectionIds: many(128), payload: [Buffer.from('x')] }
    expect(renderReply(reply).toString('latin1')).toBe(`s ${MANY_TARGETS_LENGTH}:${many(128).join(' ')}, x`)
  })

  it('closes connections by an empty payload', () => {
    expect(renderReply(closeReply('s', [7, 8])).toString()).toBe('s 3:7 8, ')
  })

  it('leaves bytes as they are', () => {
    const command = renderControl('s', [7], { cancel: true })
    expect(renderReply(command)).toBe(command)
    expect(piecesOf(command)).toEqual([command])
  })

  it('refuses no connection', () => {
    expect(() => renderReply({ sender: SENDER, connectionIds: [], payload: [] })).toThrow(
      'expected at least one connection, got none',
    )
  })
})

describe('renderControl', () => {
  // Mongrel2 crashes on a malformed one, so each that can be sent is written out here.
  const CONTROLS: [what: string, control: Control, payload: string][] = [
    ['keep-alive', { 'keep-alive': true }, '31:3:ctl,21:10:keep-alive,4:true!}]'],
    ['cancel', { cancel: true }, '26:3:ctl,16:6:cancel,4:true!}]'],
    ['no credits', { credits: 0 }, '24:3:ctl,14:7:credits,1:0#}]'],
    ['credits', { credits: 1000 }, '27:3:ctl,17:7:credits,4:1000#}]'],
    ['the most credits', { credits: 2_147_483_647 }, '34:3:ctl,24:7:credits,10:2147483647#}]'],
  ]

  it.each(CONTROLS)('renders %s for one connection, byte by byte', (_what, control, payload) => {
    expect(renderControl(SENDER, [7], control).toString('latin1')).toBe(`${SENDER} 3:X 7, ${payload}`)
  })

  it.each(CONTROLS)('renders %s for 128 connections, byte by byte', (_what, control, payload) => {
    expect(renderControl(SENDER, many(128), control).toString('latin1')).toBe(
      `${SENDER} ${MANY_TARGETS_LENGTH + 2}:X ${many(128).join(' ')}, ${payload}`,
    )
  })

  it.each(CONTROLS)('renders %s as a tnetstring that parses', (_what, control) => {
    const [key, value] = parseTnetstring(parseReply(renderControl(SENDER, [1, 22], control)).payload) as unknown[]
    expect(key).toBe('ctl')
    expect(value).toEqual(new Map(Object.entries(control)))
  })

  it.each(CONTROLS)('refuses %s for no connection', (_what, control) => {
    expect(() => renderControl(SENDER, [], control)).toThrow('expected at least one connection, got none')
  })

  it.each([1.5, 0.1, -1, -0.5, 2 ** 31, 2 ** 53, 1e300, Number.POSITIVE_INFINITY, Number.NaN])(
    'refuses credits of %d',
    (credits) => {
      expect(() => renderControl(SENDER, [7], { credits })).toThrow(
        new RangeError(`expected credits from 0 to 2147483647, got ${credits}`),
      )
    },
  )
})
