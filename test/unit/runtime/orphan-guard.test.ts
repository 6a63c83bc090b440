import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { guardDirectory } from '../../../src/runtime/process/orphan-guard.ts'

const spawn = vi.spyOn(process.getBuiltinModule('node:child_process'), 'spawn')

beforeEach(() => {
  spawn.mockReset()
})

describe('guarding without a shell', () => {
  it('does nothing where this process may not start programs', () => {
    spawn.mockImplementation(() => {
      throw new Error('spawn EPERM')
    })
    guardDirectory('/nonexistent/a')()
    expect(spawn).toHaveBeenCalledOnce()
  })

  it('does nothing where no file descriptors are left, and tries again with the next entry', () => {
    // As Node does: there is no stdin then, and the error comes later.
    const child = () =>
      Object.assign(new EventEmitter(), { unref: () => {}, kill: () => true }) as unknown as ChildProcess
    const children = [child(), child()]
    for (const each of children) spawn.mockReturnValueOnce(each)
    const removeFirst = guardDirectory('/nonexistent/a')
    children[0]?.emit('error', new Error('spawn EMFILE'))
    guardDirectory('/nonexistent/b')()
    removeFirst()
    expect(spawn).toHaveBeenCalledTimes(2)
  })
})
