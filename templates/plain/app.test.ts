import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Mongrel2Env } from 'mongrel2-fetch'
import handler from './app.ts'

// The part of what Mongrel2 says about a request that the app uses.
const env = { mongrel2: { remoteAddress: '192.0.2.1' } } as Mongrel2Env

test('the client is greeted by its address', async () => {
  const response = handler(new Request('http://localhost/'), env)
  assert.equal(response.status, 200)
  assert.equal(await response.text(), 'Hello, 192.0.2.1!\n')
})

test('other paths are not found', () => {
  assert.equal(handler(new Request('http://localhost/nowhere'), env).status, 404)
})
