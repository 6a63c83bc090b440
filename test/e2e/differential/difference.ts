import { expect } from 'vitest'
import { lacks } from '../../support/embedded.ts'

/** Some of what a client sees; a pattern for what is another each time. */
export type Expected = Readonly<Record<string, string | RegExp>>

/** Where the two servers are meant to differ: what the client sees of each, in every value that is not the same. */
export interface Difference {
  readonly why: string
  readonly ours: Expected
  readonly theirs: Expected
}

/** A difference, from what the client sees of each server: what they have in common is left out. */
export function differ(why: string, ours: Expected, theirs: Expected): Difference {
  const names = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].filter(
    (name) => ours[name] !== theirs[name],
  )
  const only = (side: Expected) => Object.fromEntries(names.map((name) => [name, side[name] ?? 'nothing']))
  return { why, ours: only(ours), theirs: only(theirs) }
}

/** Patterns as vitest compares with them. */
export function matchers(expected: Expected): Record<string, unknown> {
  const entries = Object.entries(expected)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, value instanceof RegExp ? expect.stringMatching(value) : value]),
  )
}

/** A difference in the response of so many, counted from 1. */
export function inResponse(number: number, { why, ours, theirs }: Difference): Difference {
  const prefixed = (side: Expected) =>
    Object.fromEntries(Object.entries(side).map(([name, value]) => [`${number}: ${name}`, value]))
  return { why, ours: prefixed(ours), theirs: prefixed(theirs) }
}

/** A whole response, after which the connection is as said. */
function answer(status: string, afterwards: string, fields: Expected = {}): Expected {
  return { status: `HTTP/1.1 ${status}`, body: '', ...fields, ending: 'complete', afterwards }
}

function fromMongrel2(status: string): Expected {
  const body = status.slice('400 '.length)
  const fields = {
    server: lacks('own answers') ? 'mongrel2-fetch front' : 'Mongrel2/1.12.2',
    'content-type': 'text/plain',
    'content-length': String(body.length),
    body,
  }
  return answer(status, 'closed', fields)
}

/** Mongrel2's own answers to what it does not pass on. */
export const MONGREL2_400 = fromMongrel2('400 Bad Request')
export const MONGREL2_404 = fromMongrel2('404 Not Found')
export const MONGREL2_417 = fromMongrel2('417 Expectation Failed')

/** Node's answer to what it cannot parse, and that of @hono/node-server to what it finds no URL in. */
export const NODE_400 = answer('400 Bad Request', 'closed')
export const NODE_SERVER_400 = answer('400 Bad Request', 'open', { date: 'now' })

/** The connection ends without a response. */
export const NO_ANSWER: Expected = { body: '', ending: 'the connection ended amid a response' }

/** An answer of the app, in JSON. */
export function json(body: string | RegExp): Expected {
  return answer('200 OK', 'open', { 'content-type': 'application/json', date: 'now', 'content-length': /^\d+$/, body })
}

/** An answer of the app, in text that the platform's Response has called so. */
export function text(body: string, afterwards = 'open'): Expected {
  return answer('200 OK', afterwards, { ...describe(body, 'text/plain;charset=UTF-8'), date: 'now' })
}

/** The app's answer where it has no route. */
export function notFound(body: string): Expected {
  return answer('404 Not Found', 'open', { ...describe(body, 'text/plain; charset=UTF-8'), date: 'now' })
}

/** Our answer to what we do not pass on. */
export function refusal(reason: string, status = '400 Bad Request'): Expected {
  return answer(status, 'closed', { ...describe(`${reason}\n`, 'text/plain; charset=utf-8'), date: 'now' })
}

/** Our answer for a handler that gave none. */
export const OUR_500 = answer('500 Internal Server Error', 'open', {
  ...describe('Internal Server Error', 'text/plain;charset=UTF-8'),
  date: 'now',
})

/** The answer of @hono/node-server for a handler that gave none. */
export const NODE_SERVER_500 = answer('500 Internal Server Error', 'open', { date: 'now' })

/** Its answer where it finds out later. */
export function detailed500(body: string | RegExp): Expected {
  return answer('500 Internal Server Error', 'closed', { 'content-type': 'text/plain', date: 'now', body })
}

function describe(body: string, type: string): Expected {
  return { 'content-type': type, 'content-length': String(Buffer.byteLength(body)), body }
}
