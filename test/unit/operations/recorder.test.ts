import { describe, expect, it } from 'vitest'
import { type RecordedRequest, Recorder } from '../../../src/operations/recorder.ts'
import { ObservedRequest } from '../../../src/operations/request-entry.ts'
import { createMessage } from '../../../src/wire/message.ts'

const FIELDS = [
  'METHOD',
  'POST',
  'URI',
  '/a?b',
  'PATH',
  '/a',
  'cookie',
  'a=secret',
  'x-token',
  'secret',
  'x-name',
  '\xe9',
]
const OK = 'HTTP/1.1 200 OK\r\nset-cookie: a=secret\r\nx-app: 1\r\ncontent-length: 5\r\n\r\nhello'

const recorder = new Recorder({ recordEvery: 1, recordOmit: ['X-Token'] })

interface Case {
  fields?: readonly string[]
  body?: Buffer
  sent?: readonly string[]
  status?: number | undefined
  aborted?: boolean
  received?: number
}

/** The line of a request with a response of such pieces. */
function lineOf(
  by: Recorder,
  { fields = FIELDS, body = Buffer.alloc(0), sent = [OK], ...more }: Case,
): string | undefined {
  let line: string | undefined
  const message = createMessage({ sender: 'a', connectionId: 1, path: '/a' }, fields, body)
  const request = new ObservedRequest(message, (_entry, record) => {
    line = record
  })
  request.recording = by.begin(message)
  for (const bytes of sent) request.recording.keep(Buffer.from(bytes, 'latin1'))
  request.status = 200
  Object.assign(request, more)
  request.end()
  return line
}

function recorded(one: Case): RecordedRequest {
  return JSON.parse(lineOf(recorder, one) ?? 'null')
}

describe('A recorded request', () => {
  it('has the message and the response without secrets', () => {
    const { time, duration, ...request } = recorded({ body: Buffer.from('{"é":1}') })
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now())
    expect(duration).toBeGreaterThanOrEqual(0)
    expect(request).toEqual({
      aborted: false,
      path: '/a',
      headers: [
        ['METHOD', 'POST'],
        ['URI', '/a?b'],
        ['PATH', '/a'],
        ['x-name', '\xe9'],
      ],
      omitted: ['cookie', 'x-token'],
      body: { text: '{"é":1}' },
      response: {
        status: 200,
        headers: [
          ['x-app', '1'],
          ['content-length', '5'],
        ],
        omitted: ['set-cookie'],
        body: { text: 'hello' },
      },
    })
  })

  it('is a line of printable ASCII without secrets, whatever is in it', () => {
    const line = lineOf(recorder, { body: Buffer.from('\x1b\n\x7f\u2028é'), sent: [`${OK}`] })
    expect(line).toMatch(/^[ -~]*$/)
    expect(line).not.toContain('secret')
    expect(JSON.parse(line ?? '').body.text).toBe('\x1b\n\x7f\u2028é')
  })

  it('has bytes that are no text as base64', () => {
    expect(recorded({ body: Buffer.from([0xff, 0]) }).body).toEqual({ base64: '/wA=' })
  })

  it('has the body of a response in chunks and in pieces', () => {
    const sent = ['HTTP/1.1 200 OK\r\ntransfer-enc', 'oding: chunked\r\n\r\n5\r\nhel', 'lo\r\n1\r\n!\r\n', '0\r\n\r\n']
    expect(recorded({ sent }).response?.body).toEqual({ text: 'hello!' })
  })

  it('has no body of a response to HEAD', () => {
    const sent = ['HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n']
    expect(recorded({ fields: ['METHOD', 'HEAD'], sent }).response?.body).toEqual({ text: '' })
  })

  it('marks bodies of which there is more', () => {
    const long = 'x'.repeat(20_000)
    const cut = { text: long.slice(0, 16_384), cut: true }
    const sent = [`HTTP/1.1 200 OK\r\n\r\n${long.slice(0, 9000)}`, long.slice(9000)]
    const request = recorded({ body: Buffer.from(long), sent })
    expect(request.body).toEqual(cut)
    expect(request.response?.body).toEqual(cut)
    // An upload, of which the message has none.
    expect(recorded({ received: 5 }).body).toEqual({ text: '', cut: true })
    expect(recorded({ aborted: true }).response?.body).toEqual({ text: 'hello', cut: true })
  })

  it('has no response if none began', () => {
    expect(recorded({ status: undefined, sent: [], aborted: true }).response).toBeUndefined()
  })
})

describe('A recorder', () => {
  it('takes every third request, and all that fail', () => {
    const by = new Recorder({ recordEvery: 3, recordOmit: [] })
    const taken = Array.from({ length: 6 }, () => lineOf(by, {}) !== undefined)
    expect(taken).toEqual([false, false, true, false, false, true])
    expect(lineOf(by, { status: 500 })).toBeDefined()
    expect(lineOf(by, { aborted: true })).toBeDefined()
    expect(lineOf(by, { status: 404 })).toBeDefined() // the ninth
    expect(lineOf(by, { status: 404 })).toBeUndefined()
  })

  it('takes only requests that fail by default', () => {
    const by = new Recorder({ recordEvery: 0, recordOmit: [] })
    expect(lineOf(by, {})).toBeUndefined()
    expect(lineOf(by, { status: 503 })).toBeDefined()
  })
})
