import { AsyncLocalStorage } from 'node:async_hooks'
import { beforeEach, describe, expect, it } from 'vitest'
import { renderDisconnect, renderMessage, renderRequest } from '../support/message.ts'
import { setStage, until } from '../support/stage.ts'

let store: AsyncLocalStorage<string>
let seen: (string | undefined)[]

beforeEach(() => {
  store = new AsyncLocalStorage()
  seen = []
})

/** Notes what the store holds, and enters something else. */
function visit(entered: string): void {
  seen.push(store.getStore())
  store.enterWith(entered)
}

describe('a request', () => {
  it('begins in the context in which the server was started, whatever the ones before have entered', () => {
    const stage = store.run('start', () =>
      setStage(() => {
        visit('handler')
        return new Response()
      }),
    )
    store.run('reading', () => stage.receive(renderRequest(), renderRequest({ connectionId: 2 })))
    stage.receive(renderRequest({ connectionId: 3 }))
    expect(seen).toEqual(['start', 'start', 'start'])
  })

  it('has its errors handled where its handler was', async () => {
    const stage = setStage(
      () => {
        store.enterWith('handler')
        throw new Error('fails')
      },
      {
        onError: () => {
          visit('hook')
          return undefined
        },
      },
    )
    stage.receive(renderRequest())
    await stage.settled()
    expect(seen).toEqual(['handler'])
  })

  it('has its stream read and cancelled where its handler was', async () => {
    const source = {
      pull: async (controller: ReadableStreamDefaultController) => {
        seen.push(store.getStore())
        if (seen.length < 3) controller.enqueue(Buffer.from('chunk'))
        else await new Promise(() => {})
      },
      cancel: () => visit('cancel'),
    }
    const stage = setStage(() => {
      store.enterWith('handler')
      return new Response(new ReadableStream(source, { highWaterMark: 0 }))
    })
    stage.receive(renderRequest())
    await until(() => seen.length === 3)
    stage.receive(renderDisconnect(1))
    await stage.settled()
    expect(seen).toEqual(['handler', 'handler', 'handler', 'handler'])
  })
})

describe('a message socket', () => {
  it('has all its handlers called where open left it, another where the server was started', () => {
    const message = (connectionId: number) =>
      renderMessage({ connectionId, path: '@chat', headers: { METHOD: 'JSON', PATH: '@chat' }, body: '{}' })
    const stage = store.run('start', () =>
      setStage(() => new Response(), {
        messages: {
          open: () => visit('open'),
          json: () => visit('json'),
          close: () => visit('close'),
        },
      }),
    )
    stage.receive(message(1), message(1), renderDisconnect(1), message(2))
    expect(seen).toEqual(['start', 'open', 'open', 'open', 'start', 'open'])
    stage.epoch.lost()
  })
})
