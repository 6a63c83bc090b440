import { expect, it } from 'vitest'
import { CLOSE, joinReply, type Reply, renderControl, renderReply } from '../../../src/wire/reply.ts'
import { closeInstead } from '../../../src/workers/worker/worker-server.ts'

const ids = Array.from({ length: 300 }, (_, n) => n)
const textsOf = (replies: readonly Reply[]) => replies.map((reply) => joinReply(reply).toString('latin1'))

it('A worker that was cut off closes each connection once, instead of answering it', () => {
  const closed = new Set<string>()
  const replies = [
    renderReply('a', [1], [Buffer.from('an answer')]),
    renderReply('a', [1], [CLOSE]),
    renderControl('a', [2], { 'keep-alive': true }),
    renderReply('a', [1, 2], [Buffer.alloc(50_000)]),
  ]
  expect(textsOf(closeInstead({ epoch: 1, replies }, closed))).toEqual(['a 1:1, ', 'a 1:2, '])
  expect(textsOf(closeInstead({ epoch: 2, replies: replies.slice(0, 1) }, closed))).toEqual(['a 1:1, '])
  expect(closeInstead({ epoch: 1, replies }, closed)).toEqual([])
})

it('A reply may name more than 128 connections, as handlerTargets says', () => {
  const replies = [renderReply('a', ids, [Buffer.from('to all of them')])]
  expect(closeInstead({ epoch: 1, replies }, new Set())).toEqual([renderReply('a', ids, [CLOSE])])
})
