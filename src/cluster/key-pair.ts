import { invalid, isObject } from '../runtime/errors.ts'
import { fs } from '../runtime/process/node-fs.ts'

const { readFileSync, statSync, writeFileSync } = fs

/** A key pair of CURVE, each key as 64 hexadecimal digits. */
export interface KeyPair {
  /** Identifies this machine to others. */
  readonly publicKey: string
  readonly secretKey: string
}

const KEY = /^[0-9a-f]{64}$/

/** Makes a key pair for CURVE (curve25519). */
export function createKeyPair(): KeyPair {
  const { generateKeyPairSync } = process.getBuiltinModule('node:crypto')
  const { x = '', d = '' } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' })
  return { publicKey: hexadecimal(x), secretKey: hexadecimal(d) }
}

/**
 * Writes a key pair into a new file that only this user can read.
 *
 * @throws {Error} Node's own, such as `EEXIST`.
 */
export function writeKeyPair(path: string, pair: KeyPair): void {
  writeFileSync(path, `${JSON.stringify(pair, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' })
}

/**
 * Reads a file of `writeKeyPair`.
 *
 * @throws Mongrel2Error `invalid_option` if it has no key pair, or if others than its owner may read it; Node's own error if it cannot be read.
 */
export function readKeyPair(path: string): KeyPair {
  const mode = statSync(path).mode & 0o777
  // Windows does not use the mode.
  if ((mode & 0o077) !== 0 && process.platform !== 'win32')
    throw invalid(path, `a file that only its owner can read (chmod 600 ${path})`, `the mode ${mode.toString(8)}`)
  return checkKeyPair(path, parse(readFileSync(path, 'utf8')))
}

/** @throws Mongrel2Error `invalid_option` */
export function checkKeyPair(name: string, pair: unknown): KeyPair {
  if (!isObject(pair)) throw invalid(name, '{ publicKey, secretKey }, as `mongrel2-fetch keygen` makes it', pair)
  const publicKey = checkKey(`${name}: publicKey`, pair.publicKey)
  if (typeof pair.secretKey !== 'string' || !KEY.test(pair.secretKey)) {
    throw invalid(`${name}: secretKey`, '64 hexadecimal digits', undefined)
  }
  return { publicKey, secretKey: pair.secretKey }
}

/** @throws Mongrel2Error `invalid_option` */
export function checkKey(name: string, key: unknown): string {
  if (typeof key === 'string' && KEY.test(key)) return key
  throw invalid(name, 'a public key of 64 hexadecimal digits, as `mongrel2-fetch keygen` prints it', key)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function hexadecimal(base64url: string): string {
  return Buffer.from(base64url, 'base64url').toString('hex')
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#'

/** Renders a key in the form of libzmq, ZeroMQ's Z85 (RFC 32). */
export function curveKey(hexadecimal: string): string {
  const bytes = Buffer.from(hexadecimal, 'hex')
  let text = ''
  for (let at = 0; at < bytes.length; at += 4) {
    const value = bytes.readUInt32BE(at)
    for (let power = 85 ** 4; power >= 1; power /= 85) text += DIGITS[Math.floor(value / power) % 85]
  }
  return text
}
