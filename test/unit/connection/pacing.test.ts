import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ControlPacing } from '../../../src/connection/pacing/control-pacing.ts'
import { ControlPortState } from '../../../src/connection/pacing/control-port-state.ts'
import { CreditPacing } from '../../../src/connection/pacing/credit-pacing.ts'
import { type EstimateBounds, EstimatePacing, WaitingBudget } from '../../../src/connection/pacing/estimate-pacing.ts'
import type { Pacing } from '../../../src/connection/pacing/pacing.ts'

const KIB = 1024
const MIB = KIB * KIB
const SETTINGS = { minClientRate: 16 * KIB, maxBufferedBytes: 8 * MIB }
const UNLIMITED = { bytes: Number.POSITIVE_INFINITY, messageBytes: Number.POSITIVE_INFINITY }

/** A pacing by estimate, of which only messages are bounded unless a test says otherwise. */
function estimate(bounds: EstimateBounds = UNLIMITED, budget = new WaitingBudget(Number.POSITIVE_INFINITY)) {
  return new EstimatePacing(SETTINGS, budget, bounds)
}

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
    const pacing: Pacing = new CreditPacing()
    pacing.published(100_000, 0)
    pacing.asked?.()
    expect(pacing.allowance(1_000_000, false, 0)).toBe(2400)
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
      expect(fill(estimate(), bytes)).toBe(15)
    },
  )

  it('takes small messages as delivered after the 200 ms that a busy Mongrel2 may need, and keeps their places while it may stand still', () => {
    const pacing = estimate()
    expect(fill(pacing, 100)).toBe(15)
    expect(pacing.retryAt(0)).toBe(200)
    expect([pacing.undelivered(199), pacing.settled(199)]).toEqual([1500, false])
    expect([pacing.undelivered(200), pacing.settled(200)]).toEqual([0, true])
    expect([pacing.allowance(1, true, 999), pacing.retryAt(999)]).toEqual([0, 1000])
    expect(fill(pacing, 100, 1000)).toBe(15)
  })

  it('gathers small pieces so that the places are enough for a second', () => {
    const pacing = estimate()
    const published: number[] = []
    for (let now = 0; now < 10_000; now++) {
      if (pacing.allowance(1, false, now) === 0) continue
      pacing.published(1, now)
      published.push(now)
    }
    const pauses = published.map((now, n) => now - (published[n - 1] ?? 0))
    expect(Math.max(...pauses)).toBeLessThanOrEqual(200)
    expect(published.filter((now, n) => now - (published[n - 15] ?? Number.NEGATIVE_INFINITY) < 1000)).toEqual([])
  })

  it('takes nothing as delivered by time alone while the client of a WebSocket is asked, up to ten seconds', () => {
    const pacing = estimate()
    expect(fill(pacing, 100)).toBe(15)
    pacing.probed(0)
    expect([pacing.allowance(1, true, 9999), pacing.retryAt(9999)]).toEqual([0, 10_000])
    pacing.acknowledged(800)
    expect(pacing.allowance(1, true, 9999)).toBe(1)
    pacing.probed(9999)
    expect(fill(pacing, 100, 20_000)).toBe(15)
    pacing.probed(20_000)
    expect([fill(pacing, 100, 29_999), fill(pacing, 100, 30_000)]).toEqual([0, 15])
  })

  it('takes small messages as delivered after 200 ms where the client shows that Mongrel2 runs', () => {
    const pacing = estimate()
    fill(pacing, 100)
    pacing.messageReceived(199)
    expect(pacing.allowance(1, true, 199)).toBe(0)
    pacing.messageReceived(200)
    expect(fill(pacing, 100, 200)).toBe(15)
  })

  it('takes large ones as delivered when a client that reads 16 KiB a second must have them', () => {
    const pacing = estimate()
    expect(fill(pacing, 48 * KIB)).toBe(15)
    expect(pacing.retryAt(0)).toBe(1000) // 48 KiB less the 32 KiB that sockets hold
    expect(pacing.allowance(1, true, 999)).toBe(0)
    expect(pacing.allowance(1, true, 1000)).toBe(1)
    const whole = ((15 * 48 - 32) * KIB) / 16.384
    expect([pacing.settled(whole - 1), pacing.settled(whole)]).toEqual([false, true])
  })

  it('asks for more in a message when many are outstanding, unless the response is complete', () => {
    const pacing = estimate()
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
    const pacing = estimate()
    for (let message = 0; message < 14; message++) pacing.published(64 * KIB, 0)
    expect(pacing.allowance(pacing.waitingLimit - 1, false, 0)).toBe(0)
    expect(pacing.allowance(pacing.waitingLimit, false, 0)).toBe(pacing.waitingLimit)
  })

  it('takes everything as read once the client asks again', () => {
    const pacing = estimate()
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
    const pacing = estimate()
    for (let message = 0; message < messages; message++) pacing.published(bytes, 0)
    expect(pacing.mayBeOverrun(later)).toBe(overrun)
    pacing.asked()
    expect(pacing.mayBeOverrun(later)).toBe(false)
  })

  it('takes nothing as read that a client may have asked behind once it is found to pipeline', () => {
    const pacing = estimate()
    pacing.published(1024 * KIB, 0)
    for (let message = 0; message < 4; message++) {
      pacing.asked()
      pacing.published(10, 300)
    }
    pacing.messageReceived(310)
    expect(fill(pacing, 10, 310)).toBe(11)
    expect(pacing.retryAt(310)).toBe(500)
    pacing.messageReceived(500)
    expect(fill(pacing, 10, 500)).toBe(4)
  })

  it.each([
    ['15 messages', false, 12, 12],
    ['11, while others write to its socket as well', true, 12, 10],
    ['11, while others write to its socket as well', true, 4, 4],
  ])('of %s, asks the client before the last place is taken', (_messages, shared, from, asksFrom) => {
    const pacing = estimate()
    if (shared) pacing.share()
    let published = 0
    while (!pacing.wantsProbe(1, from, 0) && pacing.allowance(1, true, 0) > 0) {
      pacing.published(1, 0)
      published++
    }
    expect([published, pacing.allowance(1, true, 0)]).toEqual([asksFrom, 1])
  })

  it('never lets more than 15 messages wait for a client that reads 16 KiB a second, while Mongrel2 stands still for up to a second', () => {
    const turn = fc.record({
      wait: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3000 })),
      bytes: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 400 * KIB })),
      complete: fc.boolean(),
      standsStill: fc.integer({ min: 1, max: 1000 }),
    })
    fc.assert(
      fc.property(fc.array(turn, { minLength: 30, maxLength: 200 }), (produced) => {
        const pacing = estimate()
        // The client reads at its rate whenever something is there; its sockets hold 32 KiB for it.
        let deliveries: number[] = []
        let idleAt = 0
        let runsAt = 0
        let now = 0
        let waiting = 0
        for (const { wait, bytes, complete, standsStill } of produced) {
          now += wait
          waiting += bytes
          const size = pacing.allowance(waiting, complete, now)
          if (size === 0) continue
          pacing.published(size, now)
          waiting -= size
          idleAt = Math.max(idleAt, now) + size / 16.384
          if (runsAt <= now) runsAt = now + standsStill
          deliveries.push(Math.max(runsAt, idleAt - (32 * KIB) / 16.384))
          deliveries = deliveries.filter((delivered) => delivered > now)
          expect(deliveries.length).toBeLessThanOrEqual(15)
        }
      }),
    )
  })
})

describe('ControlPacing', () => {
  function create(fresh = true, port = new ControlPortState(true, () => undefined)): ControlPacing {
    return new ControlPacing(SETTINGS, new WaitingBudget(Number.POSITIVE_INFINITY), port, fresh)
  }

  /** A pacing for which so many messages of 1,000 bytes were published at 0. */
  function withPublished(messages: number, fresh = true): ControlPacing {
    const pacing = create(fresh)
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
    [14_000, true, 1],
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
    const pacing = create()
    const publish = (): number[] => {
      const sizes: number[] = []
      for (let size = pacing.allowance(100 * MIB, false, 0); size > 0 && sizes.length < 99; ) {
        sizes.push(size)
        pacing.published(size, 0)
        size = pacing.allowance(100 * MIB, false, 0)
      }
      return sizes
    }
    // Until the first answer it is unknown what others have written.
    expect(publish()).toEqual(Array(7).fill(512 * KIB))
    pacing.written(0, 0)
    expect(publish()).toEqual([512 * KIB])
    expect(pacing.wantsFeedback(0)).toBe(true)
    pacing.written(512 * KIB, 1)
    expect(pacing.allowance(1000, true, 1)).toBe(1000)
  })

  it('gathers 512 KiB for the last places, which a response that is complete does not wait for', () => {
    const pacing = withPublished(7)
    pacing.written(0, 0)
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
    pacing.written(0, 0)
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

  it.each([
    ['published before it was made', false, 20_000],
    ['written by Mongrel2 itself or other Handlers before the response', true, 25],
    ['written by others, more than it has published', true, 1_000_000],
  ])('counts nothing that was %s, and may publish as much', (_what, fresh, before) => {
    const pacing = withPublished(7, fresh)
    expect([pacing.allowance(1, true, 0), pacing.written(before, 1), pacing.undelivered(1)]).toEqual([0, false, 7000])
    for (let message = 0; message < 8; message++) {
      expect(pacing.allowance(1000, true, 2)).toBe(1000)
      pacing.published(1000, 2)
    }
    expect([pacing.allowance(1, true, 3), pacing.mode]).toEqual([0, 'controlPort'])
    for (let now = 0; now <= 600_000; now += 5000) {
      pacing.written(before, now)
      expect(pacing.allowance(1, true, now)).toBe(0)
    }
    expect([pacing.written(before + 2000, 600_001), pacing.undelivered(600_001)]).toEqual([true, 13_000])
  })

  it('has places left for a client that reads, though the first answer came after all was written', () => {
    const pacing = create(false)
    const size = 512 * KIB
    for (let message = 0; message < 7; message++) pacing.published(size, 0)
    pacing.written(7 * size, 1)
    for (let message = 8; message < 1000; message++) {
      expect(pacing.allowance(MIB, true, 2)).toBe(size)
      pacing.published(size, 2)
      pacing.written(message * size, 2)
    }
  })

  it('ignores an answer to a question that was asked before the last request of its client', () => {
    const pacing = withPublished(4)
    pacing.feedbackAsked()
    pacing.asked()
    for (let message = 0; message < 7; message++) pacing.published(1000, 2)
    expect([pacing.written(3000, 3), pacing.allowance(1, true, 3)]).toEqual([false, 0])
    pacing.feedbackAsked()
    expect([pacing.written(6000, 4), pacing.undelivered(4)]).toEqual([true, 5000])
  })

  it('finds out anew with each request what others have written', () => {
    const pacing = withPublished(4)
    pacing.written(4000, 1)
    for (let request = 1; request <= 10; request++) {
      pacing.asked()
      for (let message = 0; message < 4; message++) pacing.published(1000, 2)
      const others = request * 10_000
      pacing.written(others + request * 4000, 3)
      expect(pacing.undelivered(3)).toBe(4000)
      expect([pacing.written(others + request * 4000 + 1000, 4), pacing.mode]).toEqual([true, 'controlPort'])
      expect(pacing.undelivered(5)).toBe(3000)
    }
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

/** What the sockets of both ends hold in any case. */
const SOCKETS = 32 * KIB

/** Publishes as much as may be at one time; returns the sizes of the messages. */
function publishAll(pacing: Pacing, now: number): number[] {
  const sizes: number[] = []
  for (let size = pacing.allowance(100 * MIB, true, now); size > 0; ) {
    pacing.published(size, now)
    sizes.push(size)
    size = pacing.allowance(100 * MIB, true, now)
  }
  return sizes
}

const sum = (sizes: readonly number[]) => sizes.reduce((before, size) => before + size, 0)

describe('EstimatePacing, of bytes,', () => {
  it('allows 8 MiB, in messages of 1 MiB, and then what minClientRate explains, in pieces that leave places', () => {
    const pacing = estimate({})
    expect(publishAll(pacing, 0)).toEqual(Array(8).fill(MIB))
    let now = 0
    let published = -SOCKETS
    while (now < 600_000) {
      now = pacing.retryAt(now) ?? Number.POSITIVE_INFINITY
      const size = pacing.allowance(100 * MIB, true, now)
      if (size === 0) continue
      pacing.published(size, now)
      published += size
      expect(published).toBeLessThanOrEqual((now * 16 * KIB) / 1000)
    }
    expect(published).toBeGreaterThan(0.9 * 600 * 16 * KIB)
  })

  it('allows as much again once its client asks again', () => {
    const pacing = estimate({})
    pacing.published(8 * MIB, 0)
    expect(publishAll(pacing, 0)).toEqual([])
    pacing.asked()
    expect(publishAll(pacing, 0)).toEqual(Array(8).fill(MIB))
  })

  it('counts what a client has acknowledged as read', () => {
    const pacing = estimate({})
    for (let round = 1; round <= 100; round++) {
      pacing.published(MIB, 0)
      pacing.published(1, 0)
      pacing.acknowledged(round * (MIB + 1) - 1)
      expect(pacing.allowance(MIB, true, 0)).toBe(MIB)
    }
  })
})

describe('WaitingBudget', () => {
  it('bounds what waits for all connections, each of which may have what its sockets hold', () => {
    let exhausted = 0
    const budget = new WaitingBudget(20 * MIB, () => exhausted++)
    const pacings = Array.from({ length: 4 }, () => estimate({}, budget))
    const published = pacings.map((pacing) => sum(publishAll(pacing, 0)))
    expect(published.map((bytes) => Math.floor(bytes / MIB))).toEqual([8, 8, 4, 0])
    expect(published[3]).toBeGreaterThanOrEqual(SOCKETS)
    expect(sum(published)).toBeLessThanOrEqual(20 * MIB + 4 * SOCKETS)
    expect(exhausted).toBeGreaterThan(0)
  })

  it.each<[how: string, leave: (pacing: Pacing) => void]>([
    ['is gone', (pacing) => pacing.end?.()],
    ['asks again', (pacing) => pacing.asked?.()],
    ['has acknowledged all', (pacing) => pacing.acknowledged?.(8 * MIB)],
  ])('has room again when a client %s', (_how, leave) => {
    const budget = new WaitingBudget(8 * MIB)
    const [first, second] = [estimate({}, budget), estimate({}, budget)]
    publishAll(first, 0)
    expect(sum(publishAll(second, 0))).toBeLessThanOrEqual(2 * SOCKETS)
    leave(first)
    expect(sum(publishAll(second, 200))).toBeGreaterThan(7 * MIB)
  })

  it('has room again by the time that the slowest client needs', () => {
    const budget = new WaitingBudget(8 * MIB)
    const [first, second] = [estimate({}, budget), estimate({}, budget)]
    publishAll(first, 0)
    expect(sum(publishAll(second, 256_000))).toBeGreaterThan(3.9 * MIB)
  })

  it('forgets connections that have nothing there any more', () => {
    const budget = new WaitingBudget(Number.POSITIVE_INFINITY)
    let counted = 0
    for (let n = 0; n < 10_000; n++) {
      const waitingInMongrel2 = (now: number) => {
        counted++
        return now > n ? 0 : 1
      }
      budget.set({ waitingInMongrel2 }, 1, n)
    }
    // Each is counted about once.
    expect(counted).toBeLessThan(20_000)
  })
})

describe('A control port that nobody has named', () => {
  function find(problem?: string) {
    const port = new ControlPortState(false, () => problem)
    return { port, create: () => new ControlPacing(SETTINGS, new WaitingBudget(8 * MIB), port, false) }
  }

  /** Lets a connection publish as much as it may. */
  function publish(pacing: ControlPacing, now: number): number[] {
    const sizes: number[] = []
    for (let size = pacing.allowance(4 * MIB, false, now); size > 0 && sizes.length < 15; ) {
      sizes.push(size)
      pacing.published(size, now)
      size = pacing.allowance(4 * MIB, false, now)
    }
    return sizes
  }

  it('is proven by a message of a random size, and then decides', () => {
    const sizes = new Set<number>()
    for (let n = 0; n < 20; n++) {
      const { port, create } = find()
      const pacing = create()
      expect([publish(pacing, 0), pacing.wantsFeedback(0), pacing.mode]).toEqual([[], true, 'estimate'])
      pacing.written(4711, 1)
      const [size = 0, ...more] = publish(pacing, 1)
      expect(more).toEqual([])
      expect(size).toBeLessThanOrEqual(16 * KIB)
      sizes.add(size)
      pacing.written(4711, 2)
      expect([port.proven, publish(pacing, 2)]).toEqual([false, []])
      pacing.written(4711 + size, 3)
      expect([port.proven, pacing.mode, publish(pacing, 3)]).toEqual([true, 'controlPort', Array(8).fill(512 * KIB)])
    }
    expect(sizes.size).toBeGreaterThan(15)
  })

  it('is proven late, too, by messages that were cut off behind the one of a random size', () => {
    const { port, create } = find()
    const pacing = create()
    publish(pacing, 0)
    pacing.written(0, 1)
    const [size = 0] = publish(pacing, 1)
    // No answer comes in time.
    const now = pacing.retryAt(1) ?? 0
    expect([pacing.allowance(2 * MIB, false, now), pacing.wantsFeedback(now)]).toEqual([MIB, true])
    pacing.published(MIB, now)
    expect(pacing.allowance(1000, false, now)).toBe(1000)
    pacing.published(1000, now)
    // Where a stream pauses may be the same elsewhere.
    pacing.written(size + MIB + 1000, now + 1)
    expect(port.proven).toBe(false)
    pacing.written(size + MIB, now + 2)
    expect(port.proven).toBe(true)
  })

  it('is proven by a response that began with little, too', () => {
    const { port, create } = find()
    const pacing = create()
    for (const size of [200, 1000]) {
      expect(pacing.allowance(size, false, 0)).toBe(size)
      pacing.published(size, 0)
    }
    expect(publish(pacing, 1)).toEqual([])
    pacing.written(4711 + 1200, 2)
    const [size = 0] = publish(pacing, 2)
    pacing.written(4711 + 1200 + size, 3)
    expect([port.proven, pacing.undelivered(3)]).toEqual([true, 0])
  })

  it('that another connection has proven counts nothing for one that was about to', () => {
    const { port, create } = find()
    const pacing = create()
    pacing.published(1000, 0)
    expect(publish(pacing, 0)).toEqual([])
    port.proven = true
    pacing.written(4711, 1)
    expect([pacing.undelivered(1), pacing.mode]).toEqual([1000, 'controlPort'])
  })

  it('is not asked about small responses', () => {
    const pacing = find().create()
    expect([pacing.allowance(64 * KIB - 1, false, 0), pacing.wantsFeedback(0)]).toEqual([64 * KIB - 1, false])
  })

  it('that cannot be asked holds up nothing', () => {
    const pacing = find('it is not there').create()
    expect([pacing.allowance(4 * MIB, false, 0), pacing.wantsFeedback(0)]).toEqual([MIB, false])
  })

  it.each([
    ['no answer comes', 1000, () => {}],
    [
      'other numbers come',
      1000,
      (pacing: ControlPacing, port: ControlPortState, now: number) => {
        port.answered(now)
        pacing.written(now * 1000, now)
      },
    ],
  ])('holds a response up for no more than a second when %s', (_what, most, hear) => {
    const { port, create } = find()
    const pacing = create()
    let now = 0
    let published = 0
    for (;;) {
      hear(pacing, port, now)
      for (const size of publish(pacing, now)) published += size
      if (published >= MIB) break
      now = pacing.retryAt(now) ?? now + 1
    }
    expect(now).toBeLessThanOrEqual(most + 250)
    expect([port.proven, pacing.mode]).toEqual([false, 'estimate'])
  })

  it('that told other numbers three times holds up nothing any more', () => {
    const { port, create } = find()
    for (let n = 0; n < 3; n++) {
      const pacing = create()
      publish(pacing, 0)
      for (let answer = 0; answer < 3; answer++) port.answered(answer)
      expect(publish(pacing, 2000)).not.toEqual([])
    }
    expect([publish(create(), 3000)[0], port.problem]).toEqual([MIB, 'it is that of another Mongrel2'])
  })

  it('that gives no answer is asked again after ten seconds, and later each time', () => {
    const { port } = find()
    port.failed(0)
    expect([port.mayBeProven(9999), port.mayBeProven(10_000), port.problem]).toEqual([
      false,
      true,
      'it gives no answer',
    ])
    port.failed(10_000)
    expect([port.mayBeProven(29_999), port.mayBeProven(30_000)]).toEqual([false, true])
    port.answered(30_000)
    expect([port.mayBeProven(30_001), port.problem]).toEqual([true, undefined])
  })
})
