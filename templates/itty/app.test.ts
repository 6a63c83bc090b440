import assert from 'node:assert/strict'
import { test } from 'node:test'
import router from './app.ts'

/** Calls the app as Mongrel2 would, from the address 192.0.2.1. */
async function call(path: string, init?: RequestInit): Promise<Response> {
  const request = new Request(new URL(path, 'http://localhost'), init)
  return await router.fetch(request, { mongrel2: { remoteAddress: '192.0.2.1' } })
}

test('the client is greeted by its address', async () => {
  assert.deepEqual(await (await call('/')).json(), { hello: '192.0.2.1' })
})

test('a greeting has the name of the path', async () => {
  assert.deepEqual(await (await call('/hello/world')).json(), { hello: 'world' })
})

test('numbers are added, and anything else is refused', async () => {
  assert.deepEqual(await (await call('/sum', { method: 'POST', body: '[1, 2, 3.5]' })).json(), { sum: 6.5 })
  assert.equal((await call('/sum', { method: 'POST', body: '"text"' })).status, 400)
})
