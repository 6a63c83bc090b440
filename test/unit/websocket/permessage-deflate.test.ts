import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { acceptDeflate, PerMessageDeflate, renderDeflate } from '../../../src/websocket/permessage-deflate.ts'

const NO_TAKEOVER = { serverTakeover: false, clientTakeover: false, serverWindowBits: 15 }
const TAKEOVER = { serverTakeover: true, clientTakeover: true, serverWindowBits: 15 }
const NONE = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'

describe('An offer of permessage-deflate', () => {
  const ACCEPTED: [offer: string, takeover: boolean, answer: string][] = [
    ['permessage-deflate', false, NONE],
    ['permessage-deflate', true, 'permessage-deflate'],
    ['permessage-deflate; client_max_window_bits', false, NONE],
    ['permessage-deflate; client_max_window_bits=10', true, 'permessage-deflate'],
    ['permessage-deflate; server_no_context_takeover', true, 'permessage-deflate; server_no_context_takeover'],
    ['permessage-deflate; client_no_context_takeover', true, 'permessage-deflate; client_no_context_takeover'],
    ['permessage-deflate; server_max_window_bits=10', true, 'permessage-deflate; server_max_window_bits=10'],
    ['permessage-deflate; server_max_window_bits="9"', true, 'permessage-deflate; server_max_window_bits=9'],
    ['Permessage-Deflate;server_max_window_bits=15', true, 'permessage-deflate'],
  ]
  it.each(ACCEPTED)('%s, takeover %s, is accepted as %s', (offer, takeover, answer) => {
    const terms = acceptDeflate([offer], takeover)
    expect(terms && renderDeflate(terms)).toBe(answer)
  })

  it.each([
    'x-webkit-deflate-frame',
    'permessage-deflate; unknown',
    'permessage-deflate; server_no_context_takeover=1',
    'permessage-deflate; client_no_context_takeover=1',
    'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
    'permessage-deflate; server_max_window_bits',
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; server_max_window_bits=8',
    'permessage-deflate; server_max_window_bits=16',
    'permessage-deflate; server_max_window_bits=010',
    'permessage-deflate; client_max_window_bits=7',
    'permessage-deflate; =',
    'permessage-deflate;',
  ])('%s is declined', (offer) => {
    expect(acceptDeflate([offer], false)).toBeUndefined()
  })

  it('is the first that can be met', () => {
    const offers = ['permessage-deflate; server_max_window_bits=8', 'permessage-deflate; server_max_window_bits=12']
    expect(acceptDeflate(offers, true)).toMatchObject({ serverWindowBits: 12 })
  })
})

describe('PerMessageDeflate', () => {
  it.each([
    ['without takeover', NO_TAKEOVER],
    ['with takeover', TAKEOVER],
    ['with a small window', { ...TAKEOVER, serverWindowBits: 9 }],
  ])('reads what it writes, message after message, %s', async (_how, terms) => {
    const server = new PerMessageDeflate(terms, 1_000_000)
    const client = new PerMessageDeflate(terms, 1_000_000)
    for (const size of [0, 1, 5, 1000, 0, 300_000]) {
      const message = Buffer.concat([Buffer.alloc(size, 'abc'), randomBytes(size)])
      expect((await client.inflate(await server.deflate(message))).equals(message)).toBe(true)
    }
  })

  it('writes a message again without what it took over, or shorter with it', async () => {
    const message = randomBytes(1000)
    const size = async (deflate: PerMessageDeflate) => (await deflate.deflate(message)).length
    const without = new PerMessageDeflate(NO_TAKEOVER, 1000)
    expect([await size(without), await size(without)]).toEqual([expect.any(Number), await size(without)])
    const takeover = new PerMessageDeflate(TAKEOVER, 1000)
    expect(await size(takeover)).toBeGreaterThan(1000)
    expect(await size(takeover)).toBeLessThan(100)
  })

  it.each([NO_TAKEOVER, TAKEOVER])('reads a message whose last block says so, and the next one', async (terms) => {
    const deflate = new PerMessageDeflate(terms, 1000)
    for (const text of ['one', 'two']) {
      expect((await deflate.inflate(deflateRawSync(Buffer.from(text)))).toString()).toBe(text)
    }
  })

  it('refuses a message over the limit before it is there, with 1009', async () => {
    const bomb = deflateRawSync(Buffer.alloc(500_000_000 / 10), { finishFlush: 2 }).subarray(0, -4)
    const before = process.memoryUsage.rss()
    await expect(new PerMessageDeflate(NO_TAKEOVER, 1000).inflate(bomb)).rejects.toMatchObject({ code: 1009 })
    expect(process.memoryUsage.rss() - before).toBeLessThan(20_000_000)
  })

  it.each([NO_TAKEOVER, TAKEOVER])('refuses what is not deflated with 1007, and reads on', async (terms) => {
    const deflate = new PerMessageDeflate(terms, 1000)
    await expect(deflate.inflate(Buffer.from('ffffff', 'hex'))).rejects.toMatchObject({ code: 1007 })
    expect((await deflate.inflate(Buffer.from('f248cdc9c90700', 'hex'))).toString()).toBe('Hello')
  })

  it('gives up what it works on when it is closed', async () => {
    const deflate = new PerMessageDeflate(TAKEOVER, 10_000_000)
    const compressed = deflate.deflate(randomBytes(5_000_000))
    deflate.close()
    await expect(compressed).rejects.toThrow('closed')
  })
})
