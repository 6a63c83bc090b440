import { describe, expect, it } from 'vitest'
import { type EventFields, renderEvent } from '../../../src/wire/http.ts'

describe('renderEvent', () => {
  it.each<[what: string, data: string, fields: EventFields, event: string]>([
    ['a text', 'ü', {}, 'data: ü\n\n'],
    ['nothing', '', {}, 'data: \n\n'],
    ['lines, however they end', 'a\nb\r\nc\rd\n', {}, 'data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n'],
    ['its fields', 'x', { event: 'tick', id: '7' }, 'id: 7\nevent: tick\ndata: x\n\n'],
    ['empty fields', 'x', { event: '', id: '' }, 'id: \nevent: \ndata: x\n\n'],
    ['what begins with a blank or a colon', ' :x', {}, 'data:  :x\n\n'],
  ])('renders %s', (_what, data, fields, event) => {
    expect(renderEvent(data, fields).toString()).toBe(event)
  })
})
