import { beforeEach, expect, it } from 'vitest'
import type { ConnectionObserver } from '../../../src/connection/epoch.ts'
import { Gate } from '../../support/gate.ts'
import { renderCredits, renderDisconnect, renderRequest } from '../support/message.ts'
import { type Stage, type StageOptions, setStage, turns } from '../support/stage.ts'

let said: string[]
let gate: Gate
let stage: Stage

const observer: ConnectionObserver = {
  answering: (id) => said.push(`${id} answering`),
  idle: (id) => said.push(`${id} idle`),
  deferred: (id) => said.push(`${id} deferred`),
  closed: (id) => said.push(`${id} closed`),
  forgotten: (id) => said.push(`${id} forgotten`),
  flowControl: () => said.push('flow control'),
}

function set(options: StageOptions = {}): void {
  stage = setStage(
    async (request) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/at-once') return new Response('answer')
      await gate.pass(pathname)
      return new Response('x'.repeat(Number(pathname.slice(1)) || 1))
    },
    { ...options, observer },
  )
  stage.publisher.onPublish = () => said.push('published')
}

beforeEach(() => {
  said = []
  gate = new Gate()
  set()
})

it('is told that an answer begins before it is published', async () => {
  stage.receive(renderRequest({ target: '/at-once' }))
  await turns(3)
  expect(said).toEqual(['1 answering', '1 idle', 'published'])
})

it('is told that a connection is idle when all requests on it are answered', async () => {
  stage.receive(renderRequest({ target: '/at-once' }), renderRequest({ target: '/1' }))
  await gate.arrival('/1')
  await turns(3)
  expect(said).toEqual(['1 answering', 'published'])
  gate.open('/1')
  await turns(3)
  expect(said.slice(2)).toEqual(['1 answering', '1 idle', 'published'])
})

it('is told of a close before it is published, and never that such a connection is idle', async () => {
  stage.receive(renderRequest({ target: '/at-once', headers: { connection: 'close' } }))
  await turns(3)
  expect(said).toEqual(['1 closed', '1 answering', 'published'])
})

it('is told what is forgotten, by a sweep or because the client left', async () => {
  stage.receive(renderRequest({ target: '/1' }))
  await gate.arrival('/1')
  stage.receive(renderDisconnect(1))
  expect(said).toEqual(['1 forgotten'])
  set({ flowControl: true })
  stage.receive(renderRequest({ connectionId: 2, target: '/at-once' }))
  await turns(3)
  stage.epoch.sweep()
  expect(said).not.toContain('2 forgotten')
  stage.receive(renderCredits(2, 10_000))
  stage.epoch.sweep()
  expect(said.at(-1)).toBe('2 forgotten')
})

it('is told once that Mongrel2 has flow control on', () => {
  const headers = { DOWNLOAD_CREDITS: '102400' }
  stage.receive(renderRequest({ connectionId: 1, headers }), renderRequest({ connectionId: 2, headers }))
  expect(said.filter((line) => line === 'flow control')).toHaveLength(1)
})

it('can have a connection on which nothing is open, with what Mongrel2 has not written', async () => {
  set({ flowControl: true })
  stage.receive(renderRequest({ target: '/60000' }))
  await gate.arrival('/60000')
  expect(stage.epoch.handOver(1)).toBeUndefined()
  gate.open('/60000')
  await turns(3)
  const balance = stage.epoch.handOver(1)
  expect(balance).toBe(stage.publisher.received(1).length)
  expect(stage.epoch.connections.size).toBe(0)

  // Where it goes, no more is published than there is room for.
  set({ flowControl: true })
  stage.epoch.receive(renderRequest({ target: '/60000' }), balance)
  await gate.arrival('/60000')
  gate.open('/60000')
  await turns(3)
  expect(stage.publisher.received(1)).toHaveLength(102_400 - Number(balance))
  stage.receive(renderCredits(1, Number(balance)))
  await turns(3)
  expect(stage.publisher.response(1).rest).toHaveLength(60_000)
})

it('can have a connection that nothing is known of', () => {
  expect(stage.epoch.handOver(7)).toBe(0)
})

it('cannot have one whose client has sent ahead and may not have read what there is', async () => {
  stage.receive(renderRequest({ target: '/at-once' }), renderRequest({ target: '/at-once' }))
  await turns(3)
  expect(said.at(-2)).toBe('1 idle')
  expect(stage.epoch.handOver(1)).toBeUndefined()
})
