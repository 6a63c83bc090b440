import { describe, expect, it } from 'vitest'
import { agrees, type Framing, framingOf } from '../../../src/exchange/framing.ts'
import { parseMessage } from '../../../src/wire/message.ts'
import { renderRequest } from '../support/message.ts'

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
    [undefined, 'chunked ', { length: undefined, chunked: true }],
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
    [['5', '05'], undefined, 'Content-Length differs from Content-Length'],
    [['5', '5', '6'], undefined, 'Content-Length differs from Content-Length'],
    ['5', 'chunked', 'Content-Length and Transfer-Encoding came together'],
    ['0', 'identity', 'Content-Length and Transfer-Encoding came together'],
    [undefined, 'gzip, chunked', 'Transfer-Encoding is not chunked'],
    [undefined, 'identity', 'Transfer-Encoding is not chunked'],
    [undefined, 'Chunked', 'Transfer-Encoding is not chunked'],
    [undefined, 'chunked;q=1', 'Transfer-Encoding is not chunked'],
    [undefined, '', 'Transfer-Encoding is not chunked'],
    [undefined, ['chunked', 'chunked'], 'Transfer-Encoding came twice'],
  ])('refuses Content-Length %j with Transfer-Encoding %j', (length, coding, fault) => {
    expect(framed(length, coding)).toBe(fault)
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
