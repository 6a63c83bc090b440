import { describe, expect, it } from 'vitest'
import { chunkIn } from '../../../src/front/chunk.ts'

const find = (text: string, eager = false) => chunkIn(Buffer.from(text), 100, eager)

describe('chunkIn', () => {
  it.each([
    ['5\r\nhello\r\nrest', { start: 3, end: 8, next: 10 }],
    ['A\r\n0123456789\r\n', { start: 3, end: 13, next: 15 }],
    ['0\r\n\r\nrest', { start: 3, end: 3, next: 5 }],
    ['0\r\nTrailer: x\r\n\r\nrest', { start: 3, end: 3, next: 17 }],
    ['zz\r\n\r\n', { start: 4, end: 4, next: 6 }],
    ['-1\r\n\r\n', { start: 4, end: 4, next: 6 }],
  ])('finds the chunk of %j', (text, chunk) => {
    expect(find(text)).toEqual(chunk)
  })

  it.each(['', '5', '5\r', '5\r\n', '5\r\nhell', '5\r\nhello', '5\r\nhello\r', '0\r\n', '0\r\n\r'])(
    'waits for the rest of %j',
    (text) => {
      expect(find(text)).toBe('incomplete')
    },
  )

  it.each(['5;name=value\r\n', '5\r\nhelloo\r\n', '19001\r\n', `0\r\n${'x'.repeat(100)}`])('refuses %j', (text) => {
    expect(find(text)).toBe('broken')
  })

  it('takes an eager chunk when its data has come', () => {
    expect(find('5\r\nhello', true)).toEqual({ start: 3, end: 8, next: 8 })
    expect(find('5\r\nhell', true)).toBe('incomplete')
  })
})
