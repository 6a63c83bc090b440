import { describe, expect, it } from 'vitest'
import { CHUNK_END, LAST_CHUNK, renderChunkSize, renderHead } from '../../../src/wire/http.ts'

describe('renderHead', () => {
  it('renders the status line, each field on a line of its own, and the empty line', () => {
    const head = renderHead(200, 'OK', [
      ['content-type', 'text/plain'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ])
    expect(head.toString('latin1')).toBe(
      'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n',
    )
  })

  it('keeps the blank before an empty reason', () => {
    expect(renderHead(299, '', []).toString('latin1')).toBe('HTTP/1.1 299 \r\n\r\n')
  })

  it('writes a Latin-1 character as one byte', () => {
    expect(renderHead(200, 'OK', [['x', '\xe9']])).toEqual(
      Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nx: '), Buffer.from([0xe9]), Buffer.from('\r\n\r\n')]),
    )
  })
})

describe('chunks', () => {
  it.each([
    [1, '1\r\n'],
    [15, 'f\r\n'],
    [16, '10\r\n'],
    [65_536, '10000\r\n'],
  ])('announces %d bytes', (size, text) => {
    expect(renderChunkSize(size).toString('latin1')).toBe(text)
  })

  it('ends a chunk with a line break and a body with a chunk of no bytes', () => {
    expect(CHUNK_END.toString('latin1')).toBe('\r\n')
    expect(LAST_CHUNK.toString('latin1')).toBe('0\r\n\r\n')
  })
})
