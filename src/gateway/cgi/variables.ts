import { isIP } from 'node:net'
import { HOP_BY_HOP, TOKEN } from '../../wire/http.ts'
import { MalformedError, malformed } from '../../wire/malformed.ts'
import { clientAddress } from '../protocol-server.ts'
import type { GatewayRequest, RequestBody } from '../request.ts'

const LENGTH = /^\d{1,15}$/
/** Bytes that no header may have. */
const CONTROLS = /[\0\r\n]/
/** Characters that mean something in a target, but not in a decoded path. */
const RESERVED = /[%?#]/g
/** Methods of which a request without a body says so (RFC 9110, section 8.6). Front servers say 0 for every other method too. */
const METHODS_WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])

/** Fields that are not passed on: two have variables of their own, and the client's connection ends at the front server. */
const LEFT_OUT = new Set(['content-length', 'content-type', ...HOP_BY_HOP])

/** The variables that count, beside the fields of the client, and the places of their values. */
const PLACES = {
  REQUEST_METHOD: 0,
  REQUEST_URI: 1,
  SCRIPT_NAME: 2,
  PATH_INFO: 3,
  QUERY_STRING: 4,
  CONTENT_TYPE: 5,
  CONTENT_LENGTH: 6,
  HTTPS: 7,
  REQUEST_SCHEME: 8,
  HTTP_HOST: 9,
  SERVER_NAME: 10,
  SERVER_PORT: 11,
  REMOTE_ADDR: 12,
}
const NO_VALUES = Object.keys(PLACES).map(() => '')

/** What a variable's name means. */
interface Meaning {
  readonly name: string
  /** Its place in `PLACES`, or -1. */
  readonly place: number
  /** The name of the client's field, or empty. */
  readonly field: string
}

/** By name. Most requests have the same. */
const meanings = new Map<string, Meaning>(
  Object.entries(PLACES).map(([name, place]) => [name, { name, place, field: '' }]),
)
const MOST_MEANINGS = 256
/** By their order in a request: a front server sends nearly the same each time. */
const lastMeanings: Meaning[] = []
const MOST_IN_ORDER = 64
/** Bytes of a name that is remembered. */
const LONGEST_NAME = 64

/** The variables of a request (RFC 3875, section 4.1, and REQUEST_URI and HTTPS, which servers add). Of a repeated one the last counts. */
export class Variables {
  /** Fields of the client, names and values in turn. */
  readonly fields: string[] = []
  readonly #values = [...NO_VALUES]
  #count = 0
  #hasLength = false

  /**
   * Adds the variable whose name and value are at these places of a text, bytes as Latin-1. Throws MalformedError for a name or a value that no
   * server sends, and for a second CONTENT_LENGTH that differs.
   */
  add(text: string, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    const { name, place, field } = meaningAt(text, nameStart, nameEnd, this.#count++)
    if (place === -1 && field === '') return
    const value = text.slice(valueStart, valueEnd)
    if (value !== '' && CONTROLS.test(value)) throw malformed(`a value of ${name} without NUL, CR and LF`, value)
    if (place === -1) {
      this.fields.push(field, value)
      return
    }
    if (name === 'CONTENT_LENGTH') this.#checkLength(value)
    this.#values[place] = value
  }

  /** A variable's value; empty without one. */
  get(name: keyof typeof PLACES): string {
    return this.#values[PLACES[name]] as string
  }

  /** The CONTENT_LENGTH; undefined if it is missing or empty. */
  get contentLength(): number | undefined {
    const length = this.get('CONTENT_LENGTH')
    return length === '' ? undefined : Number(length)
  }

  #checkLength(value: string): void {
    const before = this.get('CONTENT_LENGTH')
    if (value !== '' && !LENGTH.test(value)) throw malformed('a number as CONTENT_LENGTH', value)
    if (this.#hasLength && before !== value) throw malformed(`CONTENT_LENGTH ${before} again`, value)
    this.#hasLength = true
  }
}

function meaningAt(text: string, start: number, end: number, order: number): Meaning {
  const last = lastMeanings[order]
  if (last !== undefined && last.name.length === end - start && text.startsWith(last.name, start)) return last
  const meaning = meaningOf(text.slice(start, end))
  if (order < MOST_IN_ORDER && meaning.name.length <= LONGEST_NAME) lastMeanings[order] = meaning
  return meaning
}

function meaningOf(slice: string): Meaning {
  const known = meanings.get(slice)
  if (known !== undefined) return known
  const remembered = slice.length <= LONGEST_NAME
  // A copy, since a slice would keep all of the text.
  const name = remembered ? Buffer.from(slice, 'latin1').toString('latin1') : slice
  const meaning = { name, place: -1, field: name.startsWith('HTTP_') ? fieldNameOf(name) : '' }
  if (remembered && meanings.size < MOST_MEANINGS) meanings.set(name, meaning)
  return meaning
}

/** The name of the client's field; empty for one that is not passed on. */
function fieldNameOf(variable: string): string {
  const name = variable.slice('HTTP_'.length).toLowerCase().replaceAll('_', '-')
  if (!TOKEN.test(name)) throw malformed("a field's name after HTTP_", variable)
  return LEFT_OUT.has(name) ? '' : name
}

/**
 * The request that variables describe, whose fields it completes. Throws MalformedError for one that no server sends.
 *
 * @param length Bytes of its body, undefined if only its end tells.
 * @param peer The address of the front server, for a request without REMOTE_ADDR.
 * @param body The body, unless `length` is 0.
 */
export function requestOf(
  variables: Variables,
  length: number | undefined,
  peer: string | undefined,
  body: RequestBody | undefined,
): GatewayRequest {
  const { fields } = variables
  const method = variables.get('REQUEST_METHOD')
  if (!TOKEN.test(method)) throw malformed('a method as REQUEST_METHOD', method)
  if (length === undefined) fields.push('transfer-encoding', 'chunked')
  else if (length > 0 || (variables.contentLength !== undefined && METHODS_WITH_BODY.has(method)))
    fields.push('content-length', String(length))
  const type = variables.get('CONTENT_TYPE')
  if (type !== '') fields.push('content-type', type)
  const on = variables.get('HTTPS')
  const https = on === '' ? variables.get('REQUEST_SCHEME') === 'https' : /^(?:on|1)$/i.test(on)
  const host = variables.get('HTTP_HOST') || serverOf(variables, https)
  if (host !== '') fields.push('host', host)
  const address = variables.get('REMOTE_ADDR')
  return {
    method,
    target: targetOf(variables),
    // Not SERVER_PROTOCOL, which is about the client's connection: with HTTP/1.0 the handler could not tell us that an answer is incomplete.
    // Only there is Host optional, and the handler has another for it.
    version: host === '' ? 'HTTP/1.0' : 'HTTP/1.1',
    fields,
    remoteAddress: clientAddress(isIP(address) === 0 ? peer : address),
    scheme: https ? 'https' : 'http',
    body,
    webSocket: undefined,
  }
}

/** The target; without REQUEST_URI, made of the decoded path. */
function targetOf(variables: Variables): string {
  const uri = variables.get('REQUEST_URI')
  if (uri !== '') return uri
  const path = `${variables.get('SCRIPT_NAME')}${variables.get('PATH_INFO')}`.replace(RESERVED, encodeURIComponent)
  const query = variables.get('QUERY_STRING')
  if (path === '') throw new MalformedError('expected REQUEST_URI or PATH_INFO')
  return query === '' ? path : `${path}?${query}`
}

function serverOf(variables: Variables, https: boolean): string {
  const name = variables.get('SERVER_NAME')
  const port = variables.get('SERVER_PORT')
  const standard = name === '' || port === '' || port === (https ? '443' : '80')
  return standard ? name : `${name}:${port}`
}
