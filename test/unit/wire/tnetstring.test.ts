import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../../src/wire/malformed.ts'
import { parseTnetstring, renderTnetstring, spanAt, type Tnetstring } from '../../../src/wire/tnetstring.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')

const VALUES: [text: string, value: Tnetstring][] = [
  ['0:,', ''],
  ['5:hello,', 'hello'],
  ['3:a\0\xff,', 'a\0\xff'],
  ['2::,,', ':,'],
  ['1:0#', 0],
  ['5:12345#', 12345],
  ['3:-17#', -17],
  ['16:9007199254740991#', Number.MAX_SAFE_INTEGER],
  ['4:true!', true],
  ['5:false!', false],
  ['0:~', null],
  ['0:]', []],
  ['0:}', new Map()],
  ['10:1:1#0:~0:]]', [1, null, []]],
  ['26:3:ctl,16:7:credits,3:100#}]', ['ctl', new Map([['credits', 100]])]],
  [
    '21:1:a,8:1:b,1:1#}0:,0:~}',
    new Map<string, Tnetstring>([
      ['a', new Map([['b', 1]])],
      ['', null],
    ]),
  ],
  ['19:9:__proto__,4:true!}', new Map([['__proto__', true]])],
]

const FLOATS: [text: string, value: number][] = [
  ['3:1.5^', 1.5],
  ['4:-0.1^', -0.1],
  ['4:1e21^', 1e21],
  ['7:2.5E-10^', 2.5e-10],
  ['1:7^', 7],
]

/** Nested lists, each the only item of the next: `0:]`, `3:0:]]`, ... */
function nestedList(depth: number): string {
  let text = '0:]'
  for (let level = 0; level < depth; level++) text = `${text.length}:${text}]`
  return text
}

const MALFORMED: [what: string, text: string, message: RegExp][] = [
  ['nothing', '', /expected a netstring's length and ':' at byte 0/],
  ['a length alone', '5', /expected a netstring's length/],
  ['no length', ':a,', /expected a netstring's length/],
  ['a negative length', '-1:a,', /expected a netstring's length/],
  ['a length with a blank', ' 1:a,', /expected a netstring's length/],
  ['a length in hexadecimal', '0x1:a,', /expected a netstring's length/],
  ['a length without a colon', '1a,', /expected a netstring's length/],
  ['a length with a leading zero', '01:a,', /leading zero/],
  ['two zeros as length', '00:,', /leading zero/],
  ['a length of ten digits', '1000000000:a,', /more than 9 digits/],
  ['a length of a thousand digits', `${'9'.repeat(1000)}:a,`, /more than 9 digits/],
  ['a length beyond the end', '999999999:a,', /netstring of 999999999 bytes does not fit into the 2 that are left/],
  ['a length that leaves no type', '2:a,', /does not fit/],
  ['no type', '1:a', /does not fit/],
  ['an unknown type', '1:a?', /unknown type "\?" at byte 3/],
  ['bytes behind the value', '1:a,b', /1 bytes follow the value/],
  ['a second value', '1:a,1:b,', /4 bytes follow the value/],
  ['a null with a payload', '4:null~', /null has a payload/],
  ['a boolean that is none', '3:yes!', /expected true or false, got "yes"/],
  ['a boolean in capitals', '4:TRUE!', /expected true or false/],
  ['an empty boolean', '0:!', /expected true or false/],
  ['an empty number', '0:#', /expected a number, got ""/],
  ['a number with letters', '3:12a#', /expected a number, got "12a"/],
  ['a number with a plus', '2:+1#', /expected a number/],
  ['a number with a blank', '2: 1#', /expected a number/],
  ['a float tagged as an integer', '3:1.5#', /expected a number/],
  ['a hexadecimal number', '3:0x1#', /expected a number/],
  ['a float that is none', '3:nan^', /expected a number/],
  ['an infinite float', '3:inf^', /expected a number/],
  ['a float without digits behind its point', '2:1.^', /expected a number/],
  ['a list with half an item', '3:1:a]', /does not fit/],
  ['a list with something that is no item', '1:x]', /expected a netstring's length/],
  ['an item that reaches beyond its list', '4:5:a,]', /does not fit/],
  ['a dictionary with a number as key', '8:1:1#1:a,}', /key at byte 2 is no string/],
  ['a dictionary with a key and no value', '4:1:a,}', /expected a netstring's length/],
  ['a dictionary with a value cut short', '7:1:a,1:b}', /does not fit/],
  ['lists 17 deep', nestedList(17), /deeper than 16 levels/],
  ['lists 5,000 deep', nestedList(5000), /deeper than 16 levels/],
]

const shapes = fc.letrec<{ value: Tnetstring }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    latin1(),
    fc.array(tie('value'), { maxLength: 6 }),
    fc.array(fc.tuple(latin1(), tie('value')), { maxLength: 6 }).map((entries) => new Map(entries)),
  ),
})).value

function latin1(): fc.Arbitrary<string> {
  return fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array).toString('latin1'))
}

describe('parseTnetstring', () => {
  it.each(VALUES)('parses %j', (text, value) => {
    expect(parseTnetstring(bytes(text))).toEqual(value)
  })

  it.each(FLOATS)('parses the float %j', (text, value) => {
    expect(parseTnetstring(bytes(text))).toBe(value)
  })

  it('takes the last of equal keys', () => {
    expect(parseTnetstring(bytes('16:1:a,1:1#1:a,1:2#}'))).toEqual(new Map([['a', 2]]))
  })

  it('parses lists that nest 16 deep', () => {
    let value: unknown = parseTnetstring(bytes(nestedList(16)))
    let depth = 0
    while (Array.isArray(value) && value.length === 1) {
      value = value[0]
      depth++
    }
    expect(value).toEqual([])
    expect(depth).toBe(16)
  })

  it.each(MALFORMED)('refuses %s', (_what, text, message) => {
    expect(() => parseTnetstring(bytes(text))).toThrow(MalformedError)
    expect(() => parseTnetstring(bytes(text))).toThrow(message)
  })

  it.each(VALUES)('refuses %j cut short anywhere', (text) => {
    for (let length = 0; length < text.length; length++) {
      expect(() => parseTnetstring(bytes(text.slice(0, length)))).toThrow(MalformedError)
    }
  })

  it('parses what is rendered, whatever its shape', () => {
    fc.assert(
      fc.property(shapes, (value) => {
        expect(parseTnetstring(renderTnetstring(value))).toEqual(value)
      }),
    )
  })
})

describe('spanAt', () => {
  it('finds the payload of a netstring amid others without looking inside', () => {
    const neighbours = bytes('1:a,4:\0\0??}1:b,')
    expect(spanAt(neighbours, 4, neighbours.length)).toEqual({ start: 6, end: 10, type: '}'.charCodeAt(0) })
  })

  it('does not read beyond its limit', () => {
    expect(() => spanAt(bytes('3:abc,'), 0, 5)).toThrow(MalformedError)
    expect(spanAt(bytes('3:abc,'), 0, 6).end).toBe(5)
  })
})

describe('renderTnetstring', () => {
  it.each(VALUES)('renders %j', (text, value) => {
    expect(renderTnetstring(value).toString('latin1')).toBe(text)
  })

  it.each([1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 53)])('refuses the number %d', (number) => {
    expect(() => renderTnetstring([new Map([['a', number]])])).toThrow(RangeError)
  })
})
