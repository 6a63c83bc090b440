import { isIP } from 'node:net'
import { HOP_BY_HOP, TOKEN } from '../../wire/http.ts'
import { MalformedError, malformed } from '../../wire/malformed.ts'
import { clientAddress } from '../protocol-server.ts'
import type { GatewayRequest, RequestBody } from '../request.ts'
import type { Variables } from './codec.ts'

const LENGTH = /^\d{1,15}$/
/** Bytes that no header may have. */
const CONTROLS = /[\0\r\n]/
/** Characters that mean something in a target, but not in a decoded path. */
const RESERVED = /[%?#]/g
/** Methods of which a request without a body says so (RFC 9110, section 8.6). Front servers say 0 for every other method too. */
const METHODS_WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])

/** Fields that are not passed on: two have variables of their own, and the client's connection ends at the front server. */
const LEFT_OUT = new Set(['content-length', 'content-type', ...HOP_BY_HOP])

/** The variables that count, beside the fields of the client. */
const noVariables = () => ({
  REQUEST_METHOD: '',
  REQUEST_URI: '',
  SCRIPT_NAME: '',
  PATH_INFO: '',
  QUERY_STRING: '',
  CONTENT_TYPE: '',
  CONTENT_LENGTH: '',
  HTTPS: '',
  REQUEST_SCHEME: '',
  HTTP_HOST: '',
  SERVER_NAME: '',
  SERVER_PORT: '',
  REMOTE_ADDR: '',
})
type Known = ReturnType<typeof noVariables>

/** By a variable's name: the name itself if it counts, the name of the client's field, or nothing. Most requests have the same. */
const roles = new Map(Object.keys(noVariables()).map((name) => [name, name]))
const MOST_ROLES = 256

/** Names of variables by their place in a request: a front server sends nearly the same each time. */
const lastNames: string[] = []
const MOST_PLACES = 64
/** Bytes of a name that is remembered. */
const LONGEST_NAME = 64

/** The name at a place in the text of all variables: the same string as last time, if it can be, which is found quicker than a new one. */
export function nameIn(text: string, start: number, end: number, place: number): string {
  const last = lastNames[place]
  if (last !== undefined && last.length === end - start && text.startsWith(last, start)) return last
  const name = text.slice(start, end)
  if (place >= MOST_PLACES || name.length > LONGEST_NAME) return name
  // A copy, since a slice would keep all of the text.
  lastNames[place] = Buffer.from(name, 'latin1').toString('latin1')
  return name
}

/** The CONTENT_LENGTH; undefined if it is missing or empty. Throws MalformedError for other text, and for two that differ. */
export function contentLength(variables: Variables): number | undefined {
  let length: string | undefined
  for (let at = 0; at < variables.length; at += 2) {
    if (variables[at] !== 'CONTENT_LENGTH') continue
    const value = variables[at + 1] as string
    if (value !== '' && !LENGTH.test(value)) throw malformed('a number as CONTENT_LENGTH', value)
    if (length !== undefined && length !== value) throw malformed(`CONTENT_LENGTH ${length} again`, value)
    length = value
  }
  return length === undefined || length === '' ? undefined : Number(length)
}

/**
 * The request that variables describe (RFC 3875, section 4.1, and REQUEST_URI and HTTPS, which servers add). Of a repeated variable the last
 * counts. Throws MalformedError for a request that no server sends.
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
  const known = noVariables()
  const fields: string[] = []
  for (let at = 0; at < variables.length; at += 2) {
    const name = variables[at] as string
    const value = variables[at + 1] as string
    const role = roleOf(name)
    if (role === '') continue
    if (value !== '' && CONTROLS.test(value)) throw malformed(`a value of ${name} without NUL, CR and LF`, value)
    if (role === name) known[name as keyof Known] = value
    else fields.push(role, value)
  }
  const method = known.REQUEST_METHOD
  if (!TOKEN.test(method)) throw malformed('a method as REQUEST_METHOD', method)
  if (length === undefined) fields.push('transfer-encoding', 'chunked')
  else if (length > 0 || (known.CONTENT_LENGTH !== '' && METHODS_WITH_BODY.has(method)))
    fields.push('content-length', String(length))
  if (known.CONTENT_TYPE !== '') fields.push('content-type', known.CONTENT_TYPE)
  const https = known.HTTPS === '' ? known.REQUEST_SCHEME === 'https' : /^(?:on|1)$/i.test(known.HTTPS)
  const host = known.HTTP_HOST || hostOf(known.SERVER_NAME, known.SERVER_PORT, https)
  if (host !== '') fields.push('host', host)
  const address = known.REMOTE_ADDR
  return {
    method,
    target: targetOf(known),
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

function roleOf(variable: string): string {
  const known = roles.get(variable)
  if (known !== undefined) return known
  const role = variable.startsWith('HTTP_') ? fieldNameOf(variable) : ''
  if (roles.size < MOST_ROLES) roles.set(variable, role)
  return role
}

/** The name of the client's field; empty for one that is not passed on. */
function fieldNameOf(variable: string): string {
  const name = variable.slice('HTTP_'.length).toLowerCase().replaceAll('_', '-')
  if (!TOKEN.test(name)) throw malformed("a field's name after HTTP_", variable)
  return LEFT_OUT.has(name) ? '' : name
}

/** The target; without REQUEST_URI, made of the decoded path. */
function targetOf(known: Known): string {
  if (known.REQUEST_URI !== '') return known.REQUEST_URI
  const path = `${known.SCRIPT_NAME}${known.PATH_INFO}`.replace(RESERVED, encodeURIComponent)
  const query = known.QUERY_STRING
  if (path === '') throw new MalformedError('expected REQUEST_URI or PATH_INFO')
  return query === '' ? path : `${path}?${query}`
}

function hostOf(name: string, port: string, https: boolean): string {
  const standard = name === '' || port === '' || port === (https ? '443' : '80')
  return standard ? name : `${name}:${port}`
}
