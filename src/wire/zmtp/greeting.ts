import { MalformedError } from '../malformed.ts'

/** The bytes that a greeting has. */
const LENGTH = 64
const VERSION_AT = 10
const MECHANISM_AT = 12
const MECHANISM_END = 32

/** A version of ZMTP. */
export interface ZmtpVersion {
  readonly major: number
  readonly minor: number
}

/** The greeting of a side without security. */
export const GREETING: Buffer = renderGreeting('NULL')

/** Security mechanisms of ZMTP that are spoken here. */
export type Mechanism = 'NULL' | 'CURVE'

/** What each side of a connection sends first: ZMTP 3.1 with a security mechanism (RFC 37, "Version Negotiation"). */
export function renderGreeting(mechanism: Mechanism): Buffer {
  const greeting = Buffer.alloc(LENGTH)
  greeting[0] = 0xff
  greeting[9] = 0x7f
  greeting[VERSION_AT] = 3
  greeting[VERSION_AT + 1] = 1
  greeting.write(mechanism, MECHANISM_AT, 'latin1')
  return greeting
}

/**
 * Parses the greeting that the bytes begin with: the peer's version, or undefined while it is incomplete. Throws MalformedError as soon as the
 * bytes cannot become one of ZMTP 3 with the mechanism: an older peer waits for us to step back and would never send the rest.
 */
export function parseGreeting(bytes: Buffer, expected: Mechanism = 'NULL'): ZmtpVersion | undefined {
  if ((bytes.length > 0 && bytes[0] !== 0xff) || (bytes.length > 9 && bytes[9] !== 0x7f)) {
    throw new MalformedError(
      `expected the greeting of ZMTP 3, got ${JSON.stringify(bytes.toString('latin1', 0, VERSION_AT))}`,
    )
  }
  const major = bytes[VERSION_AT]
  if (major !== undefined && major < 3) {
    throw new MalformedError(`expected ZMTP 3.0 or later, got ${major === 0 ? '1.0' : '2.0'}: use a newer libzmq`)
  }
  if (bytes.length < LENGTH) return undefined
  const mechanism = bytes.toString('latin1', MECHANISM_AT, MECHANISM_END).replace(/\0+$/, '')
  if (mechanism !== expected)
    throw new MalformedError(`expected the security mechanism ${expected}, got ${JSON.stringify(mechanism)}`)
  return { major: bytes[VERSION_AT] as number, minor: bytes[VERSION_AT + 1] as number }
}

/** What follows a complete greeting. */
export function afterGreeting(bytes: Buffer): Buffer {
  return bytes.subarray(LENGTH)
}
