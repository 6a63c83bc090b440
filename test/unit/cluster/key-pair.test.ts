import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { curveKeyPair } from 'zeromq'
import {
  checkKey,
  checkKeyPair,
  createKeyPair,
  curveKey,
  readKeyPair,
  writeKeyPair,
} from '../../../src/cluster/key-pair.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keys-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true })
})

describe('curveKey', () => {
  it('gives the example of RFC 32', () => {
    expect(curveKey('864fd26fb559f75b')).toBe('HelloWorld')
  })

  it('gives the same length as keys of libzmq have', () => {
    expect(curveKey(createKeyPair().publicKey)).toHaveLength(curveKeyPair().publicKey.length)
  })
})

describe('a key pair', () => {
  it('is written for its owner alone, and read again', () => {
    const path = join(directory, 'node.key')
    const pair = createKeyPair()
    writeKeyPair(path, pair)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readKeyPair(path)).toEqual(pair)
  })

  it('is never written over a file', () => {
    const path = join(directory, 'node.key')
    writeFileSync(path, 'mine')
    expect(() => writeKeyPair(path, createKeyPair())).toThrow('EEXIST')
    expect(readFileSync(path, 'utf8')).toBe('mine')
  })

  it.each([0o640, 0o604, 0o644])('is not read from a file with the mode %o, which others can read', (mode) => {
    const path = join(directory, 'node.key')
    writeKeyPair(path, createKeyPair())
    chmodSync(path, mode)
    expect(() => readKeyPair(path)).toThrow(`expected a file that only its owner can read (chmod 600 ${path})`)
  })

  it('is a new one each time', () => {
    expect(createKeyPair().secretKey).not.toBe(createKeyPair().secretKey)
  })

  it.each([['junk'], ['{}'], ['{"publicKey": "ab", "secretKey": "cd"}']])('is not read from %s', (text) => {
    const path = join(directory, 'node.key')
    writeFileSync(path, text, { mode: 0o600 })
    expect(() => readKeyPair(path)).toThrow(path)
  })

  it('is not shown where its secret key is wrong', () => {
    const { publicKey, secretKey } = createKeyPair()
    const wrong = secretKey.slice(1)
    expect(() => checkKeyPair('keys', { publicKey, secretKey: wrong })).toThrow(/^(?!.*[0-9a-f]{60}).*secretKey/)
  })
})

it('a public key has 64 hexadecimal digits', () => {
  expect(() => checkKey('nodes', 'abc')).toThrow('nodes: expected a public key of 64 hexadecimal digits')
  const { publicKey } = createKeyPair()
  expect(checkKey('nodes', publicKey)).toBe(publicKey)
})
