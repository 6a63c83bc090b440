import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { consoleLogger, describeError, escapeBytes, ThrottledWarning } from '../../src/log.ts'

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
})

describe('consoleLogger', () => {
  it('passes warnings and errors to the console and nothing else', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    consoleLogger.warn?.('a warning')
    consoleLogger.error?.('an error')
    expect(warn.mock.calls).toEqual([['a warning']])
    expect(error.mock.calls).toEqual([['an error']])
    expect(consoleLogger.info ?? consoleLogger.debug).toBeUndefined()
    vi.restoreAllMocks()
  })
})
