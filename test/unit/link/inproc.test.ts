import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Binding } from '../../../src/link/inproc/binding.ts'
import { INPROC } from '../../../src/link/inproc/transport.ts'
import type { Received } from '../../../src/link/transport.ts'
import { createMessage, type Message } from '../../../src/wire/message.ts'
import { renderReply } from '../../../src/wire/reply.ts'

const SEND = 'inproc://send'
const RECV = 'ipc://recv'
const MAX_MESSAGE = 10

let binding: Binding
let replies: string[][]

beforeEach(() => {
  replies = []
  binding = new Binding([SEND, RECV], 'prefix', (turn) => replies.push(turn.map((reply) => String(renderReply(reply)))))
})

afterEach(() => binding.close())

const messageOf = (id: number, body = ''): Message =>
  createMessage({ sender: 's', connectionId: id, path: '/' }, ['METHOD', 'GET'], Buffer.from(body))

/** A half that pulls; the messages that it got. */
function pull() {
  const got: Received[] = []
  const source = INPROC.createSource(
    SEND,
    '',
    (message) => got.push(message),
    () => {},
    MAX_MESSAGE,
  )
  return { source, got, ids: () => got.map((message) => (message as Message).connectionId) }
}

const publish = () => INPROC.createPublisher(RECV, '', () => {})

describe('A link within the process', () => {
  it('hands messages over at once, in turn to each that pulls', async () => {
    const [one, other] = [pull(), pull()]
    await one.source.opened
    for (const id of [1, 2, 3]) expect(binding.deal(messageOf(id))).toBe(true)
    expect([one.ids(), other.ids()]).toEqual([[1, 3], [2]])
    await other.source.stop()
    await other.source.closed
    for (const id of [4, 5]) binding.deal(messageOf(id))
    expect(one.ids()).toEqual([1, 3, 4, 5])
  })

  it('keeps a message until somebody pulls', async () => {
    expect(binding.deal(messageOf(1))).toBe(false)
    const sent = binding.send(messageOf(1))
    const first = pull()
    await sent
    expect(first.ids()).toEqual([1])
    first.source.close()
    const again = binding.send(messageOf(2))
    const second = pull()
    await again
    expect(second.ids()).toEqual([2])
  })

  it('leaves out a body that is longer than the handler takes', () => {
    const { got } = pull()
    binding.deal(messageOf(1, 'x'.repeat(MAX_MESSAGE)))
    binding.deal(messageOf(2, 'x'.repeat(MAX_MESSAGE + 1)))
    expect(got).toMatchObject([{ cut: false }, { cut: true }])
  })

  it('hands replies over in their order, a turn at a time, and not within the call', async () => {
    const publisher = publish()
    expect(await publisher.opened).toBe('prefix')
    publisher.publish([
      Buffer.from('a'),
      { sender: 's', connectionIds: [1], payload: [Buffer.from('b'), Buffer.from('c')] },
    ])
    publisher.publish([Buffer.from('d')])
    expect(replies).toEqual([])
    await publisher.drained()
    expect(replies).toEqual([['a', 's 1:1, bc'], ['d']])
  })

  it('hands over what was published before the end, and nothing after it', async () => {
    const publisher = publish()
    publisher.publish([Buffer.from('before')])
    publisher.close()
    publisher.publish([Buffer.from('after')])
    await publisher.closed
    expect(replies).toEqual([['before']])
  })

  it('goes on after replies that cannot be read', async () => {
    let calls = 0
    const specs = ['inproc://of-faults', 'inproc://of-faults-too']
    const faulty = new Binding(specs, '', () => {
      if (++calls === 1) throw new Error('a fault')
    })
    faulty.publish([Buffer.from('a')])
    await expect(faulty.drained()).rejects.toThrow('a fault')
    faulty.publish([Buffer.from('b')])
    await faulty.drained()
    expect(calls).toBe(2)
    faulty.close()
  })

  it('ends with the gateway, and is no more', async () => {
    const { source } = pull()
    const publisher = publish()
    const waiting = binding.send(messageOf(1))
    binding.close()
    await Promise.all([source.closed, publisher.closed, waiting])
    await expect(publish().connected).rejects.toThrow(`no gateway of this process has bound ${RECV}`)
    await expect(pull().source.opened).rejects.toThrow(`no gateway of this process has bound ${SEND}`)
  })

  it('is bound once', () => {
    expect(() => new Binding(['inproc://other', RECV], '', () => {})).toThrow(`${RECV} is already bound`)
  })
})
