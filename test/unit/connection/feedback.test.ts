import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { FeedbackSource } from '../../../src/connection/pacing/feedback.ts'
import { renderDisconnect, renderRequest } from '../support/message.ts'
import { type Stage, setStage, turns, until } from '../support/stage.ts'

// Time stands still but when a test lets it go on; turns of the event loop do not.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Stands for a control port: each question waits until the test answers it. */
class FakeSource implements FeedbackSource {
  readonly address = { spec: 'ipc://control', named: true }
  questions = 0
  closed = false
  #pending: { resolve(written: Map<number, number>): void; reject(error: Error): void } | undefined

  bytesWritten(): Promise<Map<number, number>> {
    if (this.#pending !== undefined) throw new Error('asked with a question under way')
    this.questions++
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject }
    })
  }

  close(): void {
    this.closed = true
    this.fail('closed')
  }

  get asked(): boolean {
    return this.#pending !== undefined
  }

  async answer(written: Iterable<[id: number, bytes: number]>): Promise<void> {
    this.#pending?.resolve(new Map(written))
    this.#pending = undefined
    await turns(3)
  }

  fail(message: string): void {
    this.#pending?.reject(new Error(message))
    this.#pending = undefined
  }
}

/** A chunk in each turn of the event loop, without end. */
function endless(cancelled?: (reason: unknown) => void): ReadableStream<Uint8Array> {
  return new ReadableStream(
    {
      async pull(controller) {
        await turns()
        controller.enqueue(Buffer.alloc(100))
      },
      cancel: (reason) => cancelled?.(reason),
    },
    { highWaterMark: 0 },
  )
}

const messagesOf = (stage: Stage, id: number) => stage.publisher.payloadsFor(id).length
const bytesOf = (stage: Stage, id: number) => stage.publisher.received(id).length

let source: FakeSource
let stage: Stage

/** The next question is asked so many milliseconds after the last answer. */
async function expectPause(milliseconds: number): Promise<void> {
  vi.advanceTimersByTime(milliseconds - 1)
  await turns(3)
  expect(source.asked).toBe(false)
  vi.advanceTimersByTime(1)
  await turns(3)
  expect(source.asked).toBe(true)
}

beforeEach(() => {
  source = new FakeSource()
  stage = setStage((request) => (request.url.endsWith('/small') ? new Response('small') : new Response(endless())), {
    feedback: source,
  })
})
afterEach(async () => {
  stage.epoch.lost()
  await stage.settled()
})

describe('the control port', () => {
  it('is not asked about small answers', async () => {
    for (let request = 0; request < 20; request++) {
      stage.receive(renderRequest({ target: '/small' }))
      await turns(5)
    }
    expect(messagesOf(stage, 1)).toBe(20)
    expect(source.questions).toBe(0)
  })

  it('is asked once four messages of a stream are outstanding', async () => {
    stage.receive(renderRequest())
    await until(() => source.asked)
    expect(messagesOf(stage, 1)).toBe(4)
  })

  it('is asked one question for all streams, and each goes on by what was written of it', async () => {
    stage.receive(...[1, 2, 3].map((connectionId) => renderRequest({ connectionId })))
    await turns(300)
    expect(source.questions).toBe(1)
    // When the first was asked, only one of them had four messages outstanding.
    for (const questions of [2, 3]) {
      await source.answer([1, 2, 3].map((id) => [id, 0]))
      await turns(300)
      vi.advanceTimersByTime(250)
      await turns(300)
      expect(source.questions).toBe(questions)
    }
    const stalled = [1, 2, 3].map((id) => messagesOf(stage, id))
    await source.answer([
      [1, bytesOf(stage, 1)],
      [2, 0],
      [3, 0],
    ])
    await turns(300)
    expect(messagesOf(stage, 1)).toBeGreaterThan(stalled[0] as number)
    expect([2, 3].map((id) => messagesOf(stage, id))).toEqual(stalled.slice(1))
  })

  it('is asked again a millisecond after something moved, and later and later, up to 250, while nothing does', async () => {
    stage.receive(renderRequest())
    await turns(300)
    for (const moves of [false, true]) {
      if (moves) {
        await source.answer([[1, bytesOf(stage, 1)]])
        await turns(300)
        await expectPause(1)
      }
      for (const pause of [2, 4, 8, 16, 32, 64, 128, 250, 250]) {
        await source.answer([[1, moves ? bytesOf(stage, 1) - 100_000 : 0]])
        await expectPause(pause)
      }
    }
  })

  it('is asked before more than 4 MiB are outstanding, in messages of 512 KiB', async () => {
    const chunk = Buffer.alloc(64 * 1024)
    const body = () => new ReadableStream({ pull: (controller) => controller.enqueue(chunk) })
    const large = setStage(() => new Response(body()), { feedback: source })
    large.receive(renderRequest())
    await until(() => source.asked)
    await source.answer([[1, 0]])
    await turns(1000)
    vi.advanceTimersByTime(2)
    await turns(3)
    const sizes = large.publisher.payloadsFor(1).map(({ length }) => length)
    expect(Math.max(...sizes)).toBe(512 * 1024)
    expect(bytesOf(large, 1)).toBeGreaterThan(3.5 * 1024 * 1024)
    expect(bytesOf(large, 1)).toBeLessThan(4.5 * 1024 * 1024)
    await source.answer([[1, bytesOf(large, 1)]])
    await turns(1000)
    expect(bytesOf(large, 1)).toBeGreaterThan(7 * 1024 * 1024)
    large.epoch.lost()
    await large.settled()
  })

  it.each([
    [1, 2],
    [2000, 25],
    [40_000, 500],
    [1_000_000, 1000],
  ])(
    'of a Mongrel2 with %d connections is left alone for %d ms, however long its answer takes',
    async (count, rest) => {
      stage.receive(renderRequest())
      await until(() => source.asked)
      vi.advanceTimersByTime(1900)
      await source.answer(Array.from({ length: count }, (_, n) => [n + 1, 0]))
      await expectPause(rest)
    },
  )

  it('is asked at once about a stream that begins beside one that stands still, and again soon', async () => {
    stage.receive(renderRequest({ connectionId: 1 }))
    await until(() => source.asked)
    for (const pause of [2, 4, 8, 16, 32, 64, 128, 250]) {
      await source.answer([[1, 0]])
      await expectPause(pause)
    }
    await source.answer([[1, 0]])
    stage.receive(renderRequest({ connectionId: 2 }))
    await turns(300)
    vi.advanceTimersByTime(1)
    await until(() => source.asked)
    await source.answer([
      [1, 0],
      [2, 0],
    ])
    await expectPause(2)
  })

  it('is not asked any more when the client has left', async () => {
    stage.receive(renderRequest())
    await until(() => source.asked)
    stage.receive(renderDisconnect(1))
    await source.answer([])
    vi.advanceTimersByTime(60_000)
    await turns(3)
    expect([source.questions, stage.epoch.connections.size]).toEqual([1, 0])
  })

  it('tells of a connection that Mongrel2 has ended without a notice: its stream is cancelled', async () => {
    const reasons: unknown[] = []
    const other = setStage(() => new Response(endless((reason) => reasons.push(reason))), { feedback: source })
    other.receive(renderRequest())
    await until(() => source.asked)
    await source.answer([[2, 5000]])
    expect(reasons).toEqual([
      expect.objectContaining({ name: 'AbortError', message: expect.stringContaining('ended') }),
    ])
    expect(other.epoch.connections.size).toBe(0)
    await other.settled()
  })

  it('says nothing about a connection that came up while its answer was under way', async () => {
    stage.receive(renderRequest({ connectionId: 1 }))
    await until(() => source.asked)
    stage.receive(renderRequest({ connectionId: 2 }))
    await turns(300)
    await source.answer([[1, 0]])
    expect(stage.epoch.connections.size).toBe(2)
  })

  it('that does not answer is warned of, and asked again after a while', async () => {
    stage.receive(renderRequest())
    await until(() => source.asked)
    source.fail('nobody there')
    await turns(3)
    expect(stage.log.warnings).toEqual([expect.stringMatching(/control port, and paces by estimate: .*nobody there/)])
    expect(messagesOf(stage, 1)).toBeLessThanOrEqual(15)
    vi.advanceTimersByTime(250)
    await turns(3)
    expect(source.questions).toBe(2)
  })

  it('is closed with its Mongrel2, without a warning about the question under way', async () => {
    stage.receive(renderRequest())
    await until(() => source.asked)
    stage.epoch.lost()
    await turns(3)
    expect([source.closed, stage.log.warnings]).toEqual([true, []])
  })
})
