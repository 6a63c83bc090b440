import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { guardChild } from '../../src/runtime/process/orphan-guard.ts'
import { runProgram } from './run-program.ts'

const SOURCE = fileURLToPath(new URL('servers/handler.c', import.meta.url))

/**
 * Compiles the C handler.
 *
 * @throws Error without a compiler or libzmq's headers.
 */
export async function compileCHandler(directory: string): Promise<void> {
  await runProgram('cc', ['-O2', '-Wall', '-Wextra', '-Werror', SOURCE, '-o', programIn(directory), '-lzmq'])
}

/** Starts the C handler that was compiled into this directory, and resolves when it can answer. */
export async function startCHandler(directory: string, endpoint: string): Promise<AsyncDisposable & { pid: number }> {
  const child = spawn(programIn(directory), endpoint.split(','), { stdio: ['ignore', 'pipe', 'inherit'] })
  guardChild(child, 'KILL')
  const exit = once(child, 'exit')
  const ended = exit.then(([code, signal]) => {
    throw new Error(`the C handler ended (${signal ?? code})`)
  })
  ended.catch(() => {}) // thrown to whoever waits for its start
  await Promise.race([once(child.stdout, 'data'), ended])
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill()
      await exit
    },
  }
}

function programIn(directory: string): string {
  return join(directory, 'c-handler')
}
