import { beforeEach, describe, expect, it } from 'vitest'
import { Outbox } from '../../../src/connection/outbox.ts'
import type { Pacing } from '../../../src/connection/pacing/pacing.ts'
import { ReplyBatch } from '../../../src/wire/reply-batch.ts'
import { FakePublisher } from '../support/stage.ts'

/** Bytes that may be published now. */
let allowed: number
let outbox: Outbox
/** The marks that were told, with the position up to which all is published. */
let told: [name: string, reached: number][]

const pacing: Pacing = {
  mode: 'estimate',
  strict: false,
  waitingLimit: 1000,
  unwrittenBytes: 0,
  allowance: (waiting) => Math.min(waiting, allowed),
  published: (bytes) => {
    allowed -= bytes
  },
  undelivered: () => 0,
  retryAt: () => undefined,
  settled: () => true,
}

beforeEach(() => {
  allowed = 0
  told = []
  const connection = { id: 1, sender: 'sender', complete: true, touch: () => {} }
  outbox = new Outbox(pacing, connection, { publisher: new FakePublisher(), stalled: () => {} })
})

/** Writes ten bytes, and marks their end. */
function write(name: string): void {
  outbox.write(Buffer.alloc(10))
  outbox.whenPublished({ position: 0, published: (reached) => told.push([name, reached]) })
}

function publish(bytes: number): void {
  allowed = bytes
  outbox.take(new ReplyBatch(1), 0, undefined)
}

describe('marks of what was written', () => {
  it('are told in order, each when its bytes are published, also while others come', () => {
    for (const name of ['a', 'b', 'c']) write(name)
    publish(10)
    expect(told).toEqual([['a', 10]])
    write('d')
    publish(15)
    expect(told.slice(1)).toEqual([['b', 20]])
    publish(5)
    expect(told.slice(2)).toEqual([['c', 30]])
    write('e')
    publish(20)
    expect(told.slice(3)).toEqual([
      ['d', 40],
      ['e', 50],
    ])
    write('f')
    publish(10)
    expect(told.slice(5)).toEqual([['f', 60]])
  })

  it('are told at once where nothing waits', () => {
    outbox.whenPublished({ position: 0, published: (reached) => told.push(['nothing', reached]) })
    expect(told).toEqual([['nothing', 0]])
  })

  it('are told what went out when the rest is dropped', () => {
    for (const name of ['a', 'b', 'c']) write(name)
    publish(15)
    outbox.drop()
    expect(told).toEqual([
      ['a', 10],
      ['b', 15],
      ['c', 15],
    ])
  })
})
