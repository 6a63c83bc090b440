import { describe, expect, it } from 'vitest'
import { agrees, type Framing, framingOf, uploadHeadersOf } from '../../../src/exchange/request/framing.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { type RequestParts, renderRequest } from '../support/message.ts'

type Values = string | string[] | undefined

const framed = (length: Values, coding: Values) =>
  framingOf(parseMessage(renderRequest({ headers: { 'content-length': length, 'transfer-encoding': coding } })))

const LENGTH_FAULT = 'Content-Length is not a number from 0 to 2147483647'

describe('framingOf', () => {
  it.each<[length: Values, coding: Values, framing: Framing]>([
    [undefined, undefined, { length: undefined, chunked: false }],
    ['0', undefined, { length: 0, chunked: false }],
    ['12', undefined, { length: 12, chunked: false }],
    ['12 ', undefined, { length: 12, chunked: false }],
    ['012', undefined, { length: 12, chunked: false }],
    ['2147483647', undefined, { length: 2_147_483_647, chunked: false }],
    [['12', '12'], undefined, { length: 12, chunked: false }],
    [undefined, 'chunked', { length: undefined, chunked: true }],
    [' 12\t', undefined, { length: 12, chunked: false }],
  ])('takes Content-Length %j with Transfer-Encoding %j', (length, coding, framing) => {
    expect(framed(length, coding)).toEqual(framing)
  })

  it.each<[length: Values, coding: Values, fault: string]>([
    ['', undefined, LENGTH_FAULT],
    ['-5', undefined, LENGTH_FAULT],
    ['+5', undefined, LENGTH_FAULT],
    ['5.0', undefined, LENGTH_FAULT],
    ['0x5', undefined, LENGTH_FAULT],
    ['1e3', undefined, LENGTH_FAULT],
    ['abc', undefined, LENGTH_FAULT],
    ['5, 5', undefined, LENGTH_FAULT],
    ['5 5', undefined, LENGTH_FAULT],
    ['2147483648', undefined, LENGTH_FAULT],
    ['99999999999999999999', undefined, LENGTH_FAULT],
    [['5', '6'], undefined, 'Content-Length differs from Content-Length'],
    ['\u00a05', undefined, LENGTH_FAULT],
    ['5\u00a0', undefined, LENGTH_FAULT],
    [['5', '05'], undefined, 'Content-Length differs from Content-Length'],
    [['5', '5', '6'], undefined, 'Content-Length differs from Content-Length'],
    [['5', '5', '5', '5', '5'], undefined, 'Content-Length came too often'],
    ['5', 'chunked', 'Content-Length and Transfer-Encoding came together'],
    ['0', 'identity', 'Content-Length and Transfer-Encoding came together'],
    [undefined, 'gzip, chunked', 'Transfer-Encoding is not chunked'],
    [undefined, 'identity', 'Transfer-Encoding is not chunked'],
    [undefined, 'Chunked', 'Transfer-Encoding is not chunked'],
    [undefined, 'chunked;q=1', 'Transfer-Encoding is not chunked'],
    [undefined, 'chunked ', 'Transfer-Encoding is not chunked'], // Mongrel2 reads no chunks then
    [undefined, '', 'Transfer-Encoding is not chunked'],
    [undefined, ['chunked', 'chunked'], 'Transfer-Encoding came twice'],
  ])('refuses Content-Length %j with Transfer-Encoding %j', (length, coding, fault) => {
    expect(framed(length, coding)).toBe(fault)
  })
})

/** Whether Mongrel2 must have stored a body: only then its upload header is believed. */
const isStored = (parts: RequestParts) => {
  const headers = { ...parts.headers, 'x-mongrel2-upload-start': 'tmp/mongrel2.upload.a1B2c3' }
  return uploadHeadersOf(parseMessage(renderRequest({ ...parts, headers }))).stage === 'start'
}

describe('a body that Mongrel2 must have stored', () => {
  it.each<[length: Values, coding: Values, stored: boolean]>([
    ['12', undefined, true],
    ['12 ', undefined, true],
    [['12', '13'], undefined, true],
    ['12', 'chunked', true],
    [undefined, 'chunked', true],
    ['2147483647', undefined, true],
    // As strtol reads them.
    ['+12', undefined, true],
    ['12x', undefined, true],
    ['12, 13', undefined, true],
    ['12\u00a0', undefined, true],
    ['\v12', undefined, true],
    ['0x12', undefined, false],
    ['+ 12', undefined, false],
    ['99999999999999999999', undefined, false],
    [undefined, undefined, false],
    ['0', undefined, false],
    ['0', 'chunked', false],
    [['0', '12'], undefined, false],
    ['-5', 'chunked', false],
    ['abc', 'chunked', false],
    ['\u00a012', undefined, false],
    ['2147483648', undefined, false],
    [undefined, 'chunked ', false],
    [undefined, 'Chunked', false],
    [undefined, ['gzip', 'chunked'], false],
  ])('with Content-Length %j and Transfer-Encoding %j and no body: %s', (length, coding, stored) => {
    const headers = { 'content-length': length, 'transfer-encoding': coding }
    expect(isStored({ headers })).toBe(stored)
    expect(isStored({ headers, body: 'x' })).toBe(false)
  })

  it.each<[what: string, own: Record<string, string>]>([
    ['a frame, which has the headers of its handshake', { METHOD: 'WEBSOCKET', FLAGS: '0x81' }],
    ['the beginning of a streamed body', { UPLOAD_STREAM: '0' }],
  ])('is never %s', (_what, own) => {
    const headers = { 'transfer-encoding': 'chunked', ...own }
    expect(isStored({ headers })).toBe(false)
  })
})

describe('agrees', () => {
  it.each<[framing: Framing, bytes: number, agreed: boolean]>([
    [{ length: undefined, chunked: false }, 0, true],
    [{ length: undefined, chunked: false }, 1, false],
    [{ length: 0, chunked: false }, 0, true],
    [{ length: 5, chunked: false }, 5, true],
    [{ length: 5, chunked: false }, 4, false],
    [{ length: 5, chunked: false }, 6, false],
    [{ length: undefined, chunked: true }, 0, false],
    [{ length: undefined, chunked: true }, 5, false],
  ])('%j with %d bytes: %s', (framing, bytes, agreed) => {
    expect(agrees(framing, bytes)).toBe(agreed)
  })
})
