import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { parseTnetstring, renderTnetstring } from '../../../src/wire/tnetstring.ts'
import { PROTOCOLS, renderRequest } from '../support/message.ts'
import { mutate, mutations } from '../support/mutation.ts'

/** Whether bytes were parsed; false when they were refused in the one way there is, and anything else fails the test. */
function parses(parse: (bytes: Buffer) => unknown, bytes: Buffer): boolean {
  try {
    parse(bytes)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedError)
    return false
  }
}

describe('a mutated message', () => {
  it.each(PROTOCOLS)('with headers in %s is parsed or refused as malformed, nothing else', (protocol) => {
    const valid = renderRequest({ method: 'POST', body: '{"a":"body"}', headers: { 'x-two': ['1', '2'] }, protocol })
    let refused = 0
    fc.assert(
      fc.property(mutations, (changes) => {
        if (!parses(parseMessage, mutate(valid, changes))) refused++
      }),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(1000)
  })

  it.each(PROTOCOLS)('with any one bit of it flipped and headers in %s, too', (protocol) => {
    const valid = renderRequest({ headers: { 'x-two': ['1', '2'] }, protocol })
    let refused = 0
    for (let bit = 0; bit < valid.length * 8; bit++) {
      const flipped = Buffer.from(valid)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      if (!parses(parseMessage, flipped)) refused++
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('that is any bytes at all, too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
        parses(parseMessage, Buffer.from(array))
        parses(parseMessage, Buffer.concat([Buffer.from('s 1 / '), array]))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a mutated tnetstring', () => {
  it('is parsed or refused as malformed, nothing else', () => {
    const valid = renderTnetstring(['ctl', new Map([['credits', 1000]]), [true, null, 'text'], new Map([['a', ['b']]])])
    let refused = 0
    fc.assert(
      fc.property(mutations, (changes) => {
        if (!parses(parseTnetstring, mutate(valid, changes))) refused++
      }),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(1000)
  })
})
