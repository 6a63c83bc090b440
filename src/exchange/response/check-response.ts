import { bodyStreamOf, plainResponseOf } from '../../platform/light-response.ts'
import { platform } from '../../platform/stand-in.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeError } from '../../runtime/log.ts'
import { isUpgradeResponse } from '../../websocket/handshake.ts'

/** A reason phrase (RFC 9112, section 4). */
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/

/** Returns a handler's result as a Response that can be sent; throws Mongrel2Error `invalid_response` for one that cannot. */
export function checkResponse(value: unknown): Response {
  if (!(value instanceof platform.Response)) {
    if (isResponseLike(value)) return checkResponse(adopt(value))
    throw invalidResponse('the handler to return a Response', describeValue(value))
  }
  if (plainResponseOf(value) !== undefined || isUpgradeResponse(value)) return value
  const { status, statusText, headers } = value
  // Getters of a subclass may return values that the platform would refuse.
  if (!(headers instanceof Headers)) return checkResponse(adopt(value))
  if (typeof statusText !== 'string' || !REASON.test(statusText)) {
    throw invalidResponse('a statusText without control characters', describeValue(statusText))
  }
  if (status === 0) throw invalidResponse('a Response that can be sent', 'Response.error()')
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw invalidResponse('a Response with a status from 200 to 599', status)
  }
  if (value.bodyUsed || bodyStreamOf(value)?.locked === true) {
    const expected = 'expected a Response whose body was not read yet: return it, or a clone made before'
    throw new Mongrel2Error('invalid_response', expected)
  }
  return value
}

/** The error of a response that cannot be sent. */
export function invalidResponse(expected: string, got: string | number): Mongrel2Error {
  return new Mongrel2Error('invalid_response', `expected ${expected}, got ${got}`)
}

/** Describes an unexpected value; never throws. */
export function describeValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return describeError(value)
  try {
    return `an object of ${value.constructor?.name ?? 'no class'}`
  } catch {
    return 'an object that throws on access'
  }
}

/** Whether a value is like a Response, as one of another package or realm is. */
function isResponseLike(value: unknown): value is Response {
  if (typeof value !== 'object' || value === null) return false
  const candidate = value as Partial<Response>
  return typeof candidate.status === 'number' && typeof candidate.headers?.forEach === 'function' && 'body' in candidate
}

/** Makes a platform Response of another one, which checks its values. */
function adopt(response: Response): Response {
  const headers = new Headers()
  response.headers.forEach((value, name) => {
    headers.append(name, value)
  })
  return new platform.Response(response.body, { status: response.status, statusText: response.statusText, headers })
}
