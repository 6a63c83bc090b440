import { MalformedError, malformed } from '../malformed.ts'

const LENGTH = 64
const VERSION_AT = 10
const MECHANISM_AT = 12
const MECHANISM_END = 32

/** The version as in a greeting: the major one in the higher of two bytes. */
export const ZMTP_3_1 = 0x0301

/** The greeting without security. */
export const GREETING: Buffer = renderGreeting('NULL')

/** The supported security mechanisms of ZMTP. */
export type Mechanism = 'NULL' | 'CURVE'

/** Renders the first bytes of either side: ZMTP 3.1 with a security mechanism (RFC 37, "Version Negotiation"). */
export function renderGreeting(mechanism: Mechanism): Buffer {
  const greeting = Buffer.alloc(LENGTH)
  greeting[0] = 0xff
  greeting[9] = 0x7f
  greeting.writeUInt16BE(ZMTP_3_1, VERSION_AT)
  greeting.write(mechanism, MECHANISM_AT, 'latin1')
  return greeting
}

/**
 * Parses the greeting at the beginning of the bytes; returns the peer's version, or undefined while it is incomplete. Throws MalformedError
 * as soon as it cannot be one of ZMTP 3 with the mechanism: an older peer would never send the rest.
 */
export function parseGreeting(bytes: Buffer, expected: Mechanism = 'NULL'): number | undefined {
  if ((bytes.length > 0 && bytes[0] !== 0xff) || (bytes.length > 9 && bytes[9] !== 0x7f)) {
    throw malformed('the greeting of ZMTP 3', bytes.toString('latin1', 0, VERSION_AT))
  }
  const major = bytes[VERSION_AT]
  if (major !== undefined && major < 3) {
    throw new MalformedError(`expected ZMTP 3.0 or later, got ${major === 0 ? '1.0' : '2.0'}: use a newer libzmq`)
  }
  if (bytes.length < LENGTH) return undefined
  const mechanism = bytes.toString('latin1', MECHANISM_AT, MECHANISM_END).replace(/\0+$/, '')
  if (mechanism !== expected) throw malformed(`the security mechanism ${expected}`, mechanism)
  return bytes.readUInt16BE(VERSION_AT)
}
