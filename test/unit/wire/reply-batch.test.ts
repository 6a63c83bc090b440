import { describe, expect, it } from 'vitest'
import { renderReply } from '../../../src/wire/reply.ts'
import { ReplyBatch } from '../../../src/wire/reply-batch.ts'

const A = Buffer.from('a')
const B = Buffer.from('b')
const SAME_AS_A = Buffer.from('a')

interface Share {
  readonly id: number
  readonly pieces: readonly Buffer[]
  readonly sender?: string
}

function repliesTo(targets: number, shares: readonly Share[]): string[] {
  const batch = new ReplyBatch(targets)
  for (const { id, pieces, sender = 's' } of shares) batch.share(sender, id, pieces)
  return batch.finish().map((reply) => renderReply(reply).toString('latin1'))
}

describe('ReplyBatch', () => {
  it.each<[what: string, shares: Share[], replies: string[]]>([
    ['nothing', [], []],
    ['one connection', [{ id: 1, pieces: [A, B] }], ['s 1:1, ab']],
    ['the same for several', [1, 2, 3].map((id) => ({ id, pieces: [A, B] })), ['s 5:1 2 3, ab']],
    [
      'the same for several, with others between',
      [
        { id: 1, pieces: [A] },
        { id: 2, pieces: [B] },
        { id: 3, pieces: [A] },
        { id: 4, pieces: [A, B] },
        { id: 5, pieces: [B] },
        { id: 6, pieces: [A, B] },
      ],
      ['s 3:1 3, a', 's 3:4 6, ab', 's 3:2 5, b'],
    ],
    [
      'what is equal, but not the same',
      [
        { id: 1, pieces: [A] },
        { id: 2, pieces: [SAME_AS_A] },
      ],
      ['s 1:1, a', 's 1:2, a'],
    ],
    [
      'the same in another order',
      [
        { id: 1, pieces: [A, B] },
        { id: 2, pieces: [B, A] },
      ],
      ['s 1:1, ab', 's 1:2, ba'],
    ],
    [
      'connections of several senders',
      [
        { id: 1, pieces: [A] },
        { id: 1, pieces: [A], sender: 't' },
        { id: 2, pieces: [A] },
      ],
      ['s 3:1 2, a', 't 1:1, a'],
    ],
    ['as many as a reply may name', [1, 2, 3, 4].map((id) => ({ id, pieces: [A] })), ['s 7:1 2 3 4, a']],
    ['more than a reply may name', [1, 2, 3, 4, 5].map((id) => ({ id, pieces: [A] })), ['s 7:1 2 3 4, a', 's 1:5, a']],
  ])('renders %s', (_what, shares, replies) => {
    expect(repliesTo(4, shares)).toEqual(replies)
  })

  it('keeps what was pushed in its order', () => {
    const batch = new ReplyBatch(4)
    batch.push(A)
    batch.share('s', 1, [B])
    batch.push(B)
    expect(batch.finish().map((reply) => renderReply(reply).toString('latin1'))).toEqual(['a', 'b', 's 1:1, b'])
  })
})
