import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  asError,
  consoleLogger,
  describeError,
  escapeBytes,
  ignoreErrors,
  messageOf,
  safeLogger,
  ThrottledWarning,
} from '../../../src/runtime/log.ts'
import { HOSTILE } from '../../support/hostile-values.ts'

it('errors of a stream are ignored by one listener, however many use it', () => {
  const stream = new EventEmitter()
  for (let n = 0; n < 20; n++) ignoreErrors(stream)
  expect(stream.listenerCount('error')).toBe(1)
  expect(() => stream.emit('error', new Error('the pipe is closed'))).not.toThrow()
})

describe('ThrottledWarning', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const start = () => {
    const lines: string[] = []
    return { lines, warning: new ThrottledWarning({ warn: (line) => lines.push(line) }) }
  }

  it('says the first line at once and the next after a second', () => {
    const { lines, warning } = start()
    warning.say(() => 'one')
    vi.advanceTimersByTime(999)
    warning.say(() => 'too early')
    vi.advanceTimersByTime(1)
    warning.say(() => 'two')
    vi.advanceTimersByTime(1000)
    warning.say(() => 'three')
    expect(lines).toEqual(['one', 'two (and 1 more like it)', 'three'])
  })

  it('says how many it has left out and counts from there anew', () => {
    const { lines, warning } = start()
    for (let count = 0; count < 100; count++) warning.say(() => 'a')
    vi.advanceTimersByTime(1000)
    for (let count = 0; count < 3; count++) warning.say(() => 'b')
    vi.advanceTimersByTime(1000)
    warning.say(() => 'c')
    expect(lines).toEqual(['a', 'b (and 99 more like it)', 'c (and 2 more like it)'])
  })

  it('does not make a line that it does not say', () => {
    const { warning } = start()
    const line = vi.fn(() => 'line')
    warning.say(line)
    warning.say(line)
    expect(line).toHaveBeenCalledTimes(1)
  })

  it('says nothing to a logger without warn', () => {
    expect(() => new ThrottledWarning({}).say(() => 'line')).not.toThrow()
  })

  it('counts each warning by itself', () => {
    const one = start()
    const other = start()
    one.warning.say(() => 'one')
    other.warning.say(() => 'other')
    expect([one.lines, other.lines]).toEqual([['one'], ['other']])
  })
})

describe('escapeBytes', () => {
  it.each([
    ['plain text', 'plain text ~', 'plain text ~'],
    ['line breaks', 'a\r\nb', 'a\\x0d\\x0ab'],
    ['a terminal sequence', '\x1b[31m', '\\x1b[31m'],
    ['control characters of Latin-1', '\x7f\x80\x9b\xff', '\\x7f\\x80\\x9b\\xff'],
    ['a backslash', '\\x00', '\\\\x00'],
    ['nothing', '', ''],
  ])('shows %s', (_what, text, shown) => {
    expect(escapeBytes(Buffer.from(text, 'latin1'))).toBe(shown)
  })

  it('shows the first 80 bytes and how many there are', () => {
    expect(escapeBytes(Buffer.alloc(80, 'a'))).toBe('a'.repeat(80))
    expect(escapeBytes(Buffer.alloc(81, '\n'))).toBe(`${'\\x0a'.repeat(80)}... (81 bytes)`)
  })
})

describe('describeError', () => {
  it.each<[what: string, thrown: unknown, described: RegExp]>([
    ['an error with its stack', new TypeError('broken'), /^TypeError: broken\n +at /],
    ['an error without one', Object.assign(new Error('broken'), { stack: undefined }), /^Error: broken$/],
    ['a string', 'broken', /^broken$/],
    ['nothing', undefined, /^undefined$/],
  ])('describes %s', (_what, thrown, described) => {
    expect(describeError(thrown)).toMatch(described)
  })

  it('escapes the control characters of a message, and leaves the line breaks of the stack', () => {
    const described = describeError(new Error('a\r\n\x1b[2J\n    at forged\x9b'))
    expect(described).toMatch(/^Error: a\\x0d\\x0a\\x1b\[2J\\x0a {4}at forged\\x9b\n {4}at /)
    expect(described.split('\n').slice(1)).toSatisfy((lines: string[]) => lines.every((line) => /^ {4}at /.test(line)))
  })

  it('escapes a message that was changed after the error was made', () => {
    const error = new Error('a\nb')
    expect(error.stack).toBeDefined() // V8 makes it at the first look
    error.message = 'c'
    expect(describeError(error)).toMatch(/^Error: a\\x0ab\n {4}at /)
  })

  it.each(HOSTILE)('describes %s without throwing', (_what, make) => {
    expect([typeof describeError(make()), typeof messageOf(make())]).toEqual(['string', 'string'])
    expect(asError(make())).toBeInstanceOf(Object)
  })
})

describe('a safe logger', () => {
  it('escapes control characters and indents what follows a line break', () => {
    const lines: string[] = []
    const safe = safeLogger({ warn: (line) => lines.push(line) })
    safe.warn?.('a\nmongrel2-fetch: b\n    at c\r\t\x7f\x85')
    expect(lines).toEqual(['a\n    mongrel2-fetch: b\n    at c\\x0d\\x09\\x7f\\x85'])
    safe.warn?.(lines[0] ?? '')
    expect(lines[1]).toBe(lines[0])
  })

  it('passes on which worker wrote a line, and nothing else', () => {
    const warn = vi.fn()
    const safe = safeLogger({ warn })
    safe.warn?.('a')
    safe.warn?.('b', { worker: 12 })
    expect(warn.mock.calls).toEqual([['a'], ['b', { worker: 12 }]])
  })

  it('survives a logger that throws or rejects, and has the methods that it has', async () => {
    const fails = () => {
      throw new Error('no log')
    }
    const safe = safeLogger({ warn: fails, error: async () => fails() })
    expect(Object.keys(safe)).toEqual(['warn', 'error'])
    safe.warn?.('line')
    safe.error?.('line')
    await new Promise((resolve) => setImmediate(resolve))
  })
})

describe('consoleLogger', () => {
  it('passes warnings and errors to the console and nothing else', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    consoleLogger.warn?.('a warning')
    consoleLogger.error?.('an error', { worker: 12 })
    expect(warn.mock.calls).toEqual([['a warning']])
    expect(error.mock.calls).toEqual([['[worker 12] an error']])
    expect(consoleLogger.info ?? consoleLogger.debug).toBeUndefined()
    vi.restoreAllMocks()
  })
})
