import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { controlPortProblem } from '../../../src/link/control-port.ts'

const NOBODY = 65_534

let directory: string
let path: string
let listener: Server

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'control-address-'))
  path = join(directory, 'control')
  listener = createServer().listen(path)
  await once(listener, 'listening')
})

afterEach(async () => {
  listener.close()
  await once(listener, 'close')
  rmSync(directory, { recursive: true })
})

const problemAt = (spec: string, named = false) => controlPortProblem({ spec, named })

it('has nothing to say against a socket', () => {
  expect(problemAt(`ipc://${path}`)).toBeUndefined()
})

it('says what is wrong with a file that is none, or none at all', () => {
  const other = join(directory, 'other')
  expect(problemAt(`ipc://${other}`)).toBe('it is not there')
  writeFileSync(other, '')
  expect(problemAt(`ipc://${other}`)).toBe('it is no socket')
  expect(problemAt(`ipc://${other}`, true)).toBeUndefined()
})

it('says that a user who may not write to the socket cannot ask', () => {
  const isRoot = process.getuid?.() === 0
  chmodSync(directory, 0o755)
  chmodSync(path, 0o555)
  if (!isRoot) return void expect(problemAt(`ipc://${path}`)).toBe('permission denied')
  chownSync(path, 0, 0)
  const module = new URL('../../../src/link/control-port.ts', import.meta.url).href
  // It becomes another user when all is loaded: this Node and the checkout may be in a directory of root's.
  const script = `import { controlPortProblem } from ${JSON.stringify(module)}
    process.setgroups([])
    process.setgid(${NOBODY})
    process.setuid(${NOBODY})
    console.log(controlPortProblem({ spec: ${JSON.stringify(`ipc://${path}`)}, named: false }))`
  const args = ['--import', 'tsx', '--input-type=module', '-e', script]
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  expect([stdout, stderr]).toEqual(['permission denied\n', ''])
})
