import { expect, it } from 'vitest'
import { closeReply, type Reply, renderControl, renderReply } from '../../../src/wire/reply.ts'
import { closeInstead } from '../../../src/workers/worker/worker-server.ts'

const ids = Array.from({ length: 300 }, (_, n) => n)
const textsOf = (replies: readonly Reply[]) => replies.map((reply) => renderReply(reply).toString('latin1'))

it('A worker that was cut off closes each connection once, instead of answering it', () => {
  const closed = new Set<string>()
  const replies = [
    { sender: 'a', connectionIds: [1], payload: [Buffer.from('an answer')] },
    closeReply('a', [1]),
    renderControl('a', [2], { 'keep-alive': true }),
    { sender: 'a', connectionIds: [1, 2], payload: [Buffer.alloc(50_000)] },
  ]
  expect(textsOf(closeInstead({ epoch: 1, replies }, closed))).toEqual(['a 1:1, ', 'a 1:2, '])
  expect(textsOf(closeInstead({ epoch: 2, replies: replies.slice(0, 1) }, closed))).toEqual(['a 1:1, '])
  expect(closeInstead({ epoch: 1, replies }, closed)).toEqual([])
})

it('A reply of a handler thread, which is bytes, is closed instead, too', () => {
  const replies = [renderReply({ sender: 'a', connectionIds: [1, 2], payload: [Buffer.from('an answer')] })]
  expect(textsOf(closeInstead({ epoch: 1, replies }, new Set(['1 2'])))).toEqual(['a 1:1, '])
})

it('A reply may name more than 128 connections, as handlerTargets says', () => {
  const replies = [{ sender: 'a', connectionIds: ids, payload: [Buffer.from('to all of them')] }]
  expect(closeInstead({ epoch: 1, replies }, new Set())).toEqual([closeReply('a', ids)])
})
