import assert from 'node:assert/strict'
import { test } from 'node:test'
import app from './app.ts'

test('the page shows the address of the client', async () => {
  // What Mongrel2 says about a request is the third argument.
  const response = await app.request('/', {}, { mongrel2: { remoteAddress: '192.0.2.1' } })
  assert.equal(response.status, 200)
  assert.match(await response.text(), /You are 192\.0\.2\.1/)
})

test('a greeting is JSON', async () => {
  const response = await app.request('/hello/world')
  assert.deepEqual(await response.json(), { hello: 'world' })
})
