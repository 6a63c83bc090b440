import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ControlPacing, CreditPacing, EstimatePacing } from '../../../src/exchange/pacing.ts'

const KIB = 1024
const SETTINGS = { minClientRate: 16 * KIB, maxBufferedBytes: 8 * KIB * KIB }

describe('CreditPacing', () => {
  it('allows 102,400 bytes outstanding and not one more', () => {
    const pacing = new CreditPacing()
    expect(pacing.allowance(1_000_000)).toBe(102_400)
    pacing.published(102_399)
    expect(pacing.allowance(1_000_000)).toBe(1)
    pacing.published(1)
    expect(pacing.allowance(1)).toBe(0)
    pacing.credited(500)
    expect([pacing.allowance(1), pacing.allowance(1000)]).toEqual([1, 500])
  })

  it('does not allow more for credits that nobody has used', () => {
    const pacing = new CreditPacing()
    pacing.credited(50_000)
    expect(pacing.allowance(1_000_000)).toBe(102_400)
  })

  it('keeps its balance when the client asks again', () => {
    const pacing = new CreditPacing()
    pacing.published(100_000)
    pacing.asked()
    expect(pacing.allowance(1_000_000)).toBe(2400)
  })

  it('is settled when all was credited, and waits for nothing but credits', () => {
    const pacing = new CreditPacing()
    expect(pacing.settled()).toBe(true)
    pacing.published(10)
    expect([pacing.settled(), pacing.retryAt()]).toEqual([false, undefined])
    pacing.credited(10)
    expect(pacing.settled()).toBe(true)
  })
})

describe('EstimatePacing', () => {
  /** Publishes as many messages of a size as are allowed at one time. */
  function fill(pacing: EstimatePacing, bytes: number, now = 0): number {
    let messages = 0
    while (messages < 100 && pacing.allowance(bytes, true, now) > 0) {
      pacing.published(bytes, now)
      messages++
    }
    return messages
  }

  it.each([1, 100, 64 * KIB, 100 * KIB * KIB])(
    'allows 15 messages of %d bytes at once, and keeps the 16th place for the close',
    (bytes) => {
      expect(fill(new EstimatePacing(SETTINGS), bytes)).toBe(15)
    },
  )

  it('takes small messages as delivered after the 200 ms that a busy Mongrel2 may need', () => {
    const pacing = new EstimatePacing(SETTINGS)
    expect(fill(pacing, 100)).toBe(15)
    expect(pacing.retryAt(0)).toBe(200)
    expect([pacing.allowance(1, true, 199), pacing.settled(199)]).toEqual([0, false])
    expect([pacing.settled(200), pacing.retryAt(200)]).toEqual([true, undefined])
    expect(fill(pacing, 100, 200)).toBe(15)
  })

  it('takes large ones as delivered when a client that reads 16 KiB a second must have them', () => {
    const pacing = new EstimatePacing(SETTINGS)
    expect(fill(pacing, 48 * KIB)).toBe(15)
    expect(pacing.retryAt(0)).toBe(1000) // 48 KiB less the 32 KiB that sockets hold
    expect(pacing.allowance(1, true, 999)).toBe(0)
    expect(pacing.allowance(1, true, 1000)).toBe(1)
    const whole = ((15 * 48 - 32) * KIB) / 16.384
    expect([pacing.settled(whole - 1), pacing.settled(whole)]).toEqual([false, true])
  })

  it('asks for more in a message when many are outstanding, unless the response is complete', () => {
    const pacing = new EstimatePacing(SETTINGS)
    for (let message = 0; message < 7; message++) {
      expect(pacing.allowance(64 * KIB, false, 0)).toBe(64 * KIB)
      pacing.published(64 * KIB, 0)
    }
    expect(pacing.allowance(256 * KIB - 1, false, 0)).toBe(0)
    expect(pacing.allowance(256 * KIB, false, 0)).toBe(256 * KIB)
    expect(pacing.allowance(1, true, 0)).toBe(1)
    pacing.published(256 * KIB, 0)
    expect(pacing.allowance(512 * KIB - 1, false, 0)).toBe(0)
    expect(pacing.allowance(512 * KIB, false, 0)).toBe(512 * KIB)
  })

  it('sends what has reached the limit of what may wait, however many are outstanding', () => {
    const pacing = new EstimatePacing(SETTINGS)
    for (let message = 0; message < 14; message++) pacing.published(64 * KIB, 0)
    expect(pacing.allowance(pacing.waitingLimit - 1, false, 0)).toBe(0)
    expect(pacing.allowance(pacing.waitingLimit, false, 0)).toBe(pacing.waitingLimit)
  })

  it('takes everything as read once the client asks again', () => {
    const pacing = new EstimatePacing(SETTINGS)
    fill(pacing, 64 * KIB)
    pacing.asked()
    expect([pacing.allowance(10, false, 0), pacing.settled(0)]).toEqual([10, true])
  })

  it.each([
    ['17 messages that do not fit the sockets', 17, 2 * KIB, 0, true],
    ['16 messages, for which there is room', 16, 2 * KIB, 0, false],
    ['17 messages that fit the sockets', 17, KIB, 0, false],
    ['17 messages that every client has read by now', 17, 2 * KIB, 60_000, false],
  ])('says whether it may be too much: %s', (_what, messages, bytes, later, overrun) => {
    const pacing = new EstimatePacing(SETTINGS)
    for (let message = 0; message < messages; message++) pacing.published(bytes, 0)
    expect(pacing.mayBeOverrun(later)).toBe(overrun)
    pacing.asked()
    expect(pacing.mayBeOverrun(later)).toBe(false)
  })

  it('takes nothing as read that a client may have asked behind once it is found to pipeline', () => {
    const pacing = new EstimatePacing(SETTINGS)
    pacing.published(1024 * KIB, 0)
    for (let message = 0; message < 4; message++) {
      pacing.asked()
      pacing.published(10, 300)
    }
    pacing.pipelines(310)
    expect(fill(pacing, 10, 310)).toBe(11)
    expect(pacing.retryAt(310)).toBe(500)
    expect(fill(pacing, 10, 500)).toBe(4)
  })

  it.each([
    ['15 messages', false, 12, 12],
    ['11, while others write to its socket as well', true, 12, 10],
    ['11, while others write to its socket as well', true, 4, 4],
  ])('of %s, asks the client before the last place is taken', (_messages, shared, from, asksFrom) => {
    const pacing = new EstimatePacing(SETTINGS)
    if (shared) pacing.share()
    let published = 0
    while (!pacing.wantsProbe(1, from, 0) && pacing.allowance(1, true, 0) > 0) {
      pacing.published(1, 0)
      published++
    }
    expect([published, pacing.allowance(1, true, 0)]).toEqual([asksFrom, 1])
  })

  it('never lets more than 15 messages wait for a client that reads 16 KiB a second', () => {
    const turn = fc.record({
      wait: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3000 })),
      bytes: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 400 * KIB })),
      complete: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(turn, { minLength: 30, maxLength: 200 }), (produced) => {
        const pacing = new EstimatePacing(SETTINGS)
        // The client reads at its rate whenever something is there; its sockets hold 32 KiB for it.
        let deliveries: number[] = []
        let idleAt = 0
        let now = 0
        let waiting = 0
        for (const { wait, bytes, complete } of produced) {
          now += wait
          waiting += bytes
          const size = pacing.allowance(waiting, complete, now)
          if (size === 0) continue
          pacing.published(size, now)
          waiting -= size
          idleAt = Math.max(idleAt, now) + size / 16.384
          deliveries.push(Math.max(now + 1, idleAt - (32 * KIB) / 16.384))
          deliveries = deliveries.filter((delivered) => delivered > now)
          expect(deliveries.length).toBeLessThanOrEqual(15)
        }
      }),
    )
  })
})

describe('ControlPacing', () => {
  /** A pacing for which so many messages of 1,000 bytes were published at 0. */
  function withPublished(messages: number, fresh = true): ControlPacing {
    const pacing = new ControlPacing(SETTINGS, fresh)
    for (let message = 0; message < messages; message++) pacing.published(1000, 0)
    return pacing
  }

  it.each([
    [3, false],
    [4, true],
    [15, true],
  ])('with %d messages outstanding wants feedback: %s', (messages, wanted) => {
    expect(withPublished(messages).wantsFeedback(0)).toBe(wanted)
  })

  it.each([
    [0, false, 15],
    [999, false, 15],
    [1000, true, 14],
    [14_999, true, 1],
    [15_000, true, 0],
  ])('that %d bytes were written is news: %s, with %d messages outstanding', (bytes, news, outstanding) => {
    const pacing = withPublished(15)
    expect(pacing.written(bytes, 1)).toBe(news)
    expect(pacing.written(bytes, 2)).toBe(false)
    let room = 0
    while (pacing.allowance(1, true, 3) > 0 && room < 15) {
      pacing.published(1, 3)
      room++
    }
    expect(room).toBe(15 - outstanding)
  })

  it('sends 512 KiB in a message, and no more once 4 MiB are outstanding', () => {
    const pacing = new ControlPacing(SETTINGS, true)
    const sizes: number[] = []
    for (let size = pacing.allowance(100 * KIB * KIB, false, 0); size > 0 && sizes.length < 99; ) {
      sizes.push(size)
      pacing.published(size, 0)
      size = pacing.allowance(100 * KIB * KIB, false, 0)
    }
    expect(sizes).toEqual(Array(8).fill(512 * KIB))
    expect(pacing.wantsFeedback(0)).toBe(true)
    pacing.written(512 * KIB, 1)
    expect(pacing.allowance(1000, true, 1)).toBe(1000)
  })

  it('gathers 512 KiB for the last places, which a response that is complete does not wait for', () => {
    const pacing = withPublished(7)
    const allowed = (waiting: number, complete: boolean) => pacing.allowance(waiting, complete, 0)
    expect([allowed(512 * KIB - 1, false), allowed(512 * KIB, false), allowed(1000, true)]).toEqual([
      0,
      512 * KIB,
      1000,
    ])
    pacing.written(1000, 1)
    expect(pacing.allowance(1000, false, 1)).toBe(1000)
  })

  it('takes nothing as delivered that the control port does not tell, however long it takes', () => {
    const pacing = withPublished(15)
    for (let now = 0; now <= 600_000; now += 5000) {
      expect(pacing.allowance(1, true, now)).toBe(0)
      expect(pacing.written(0, now)).toBe(false)
    }
    expect(pacing.mayBeOverrun(600_000)).toBe(false)
    pacing.written(2000, 600_000)
    pacing.published(1, 600_000)
    pacing.published(1, 600_000)
    expect(pacing.allowance(1, true, 600_000)).toBe(0)
  })

  it('goes by the estimate once the control port has not answered for ten seconds', () => {
    const pacing = withPublished(15)
    expect([pacing.allowance(1, true, 9999), pacing.retryAt(9999)]).toEqual([0, 10_000])
    expect([pacing.allowance(1, true, 10_000), pacing.retryAt(10_000)]).toEqual([1, undefined])
  })

  it('says when a few messages are delivered by the estimate, since it does not ask about them', () => {
    const pacing = withPublished(2)
    pacing.published(1000, 100)
    expect([pacing.retryAt(0), pacing.retryAt(200), pacing.retryAt(300)]).toEqual([200, 300, undefined])
  })

  it('goes by the estimate where messages were published before it was made, and counts none of theirs', () => {
    const pacing = withPublished(15, false)
    expect([pacing.written(20_000, 1), pacing.allowance(1, true, 1)]).toEqual([false, 0])
    expect([pacing.written(21_000, 2), pacing.allowance(1, true, 2)]).toEqual([true, 1])
    expect(pacing.retryAt(2)).toBe(200)
    expect(pacing.settled(200)).toBe(true)
  })

  it('goes by the estimate once more was written than it has published', () => {
    const pacing = withPublished(15)
    expect(pacing.written(15_001, 1)).toBe(true)
    for (let message = 0; message < 15; message++) pacing.published(1000, 1)
    expect([pacing.allowance(1, true, 200), pacing.allowance(1, true, 201)]).toEqual([0, 1])
    pacing.written(17_001, 202)
    expect(pacing.settled(202)).toBe(true)
  })

  it('is settled when the slowest client has everything, so that it can be forgotten without a question', () => {
    expect([withPublished(3).settled(199), withPublished(3).settled(200)]).toEqual([false, true])
  })

  it('takes everything as read once the client asks again', () => {
    const pacing = withPublished(15)
    pacing.asked()
    expect([pacing.allowance(10, false, 0), pacing.wantsFeedback(0)]).toEqual([10, false])
  })
})
