import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Place } from './contenders.ts'

const OURS = fileURLToPath(new URL('../..', import.meta.url))

/** A server of servers/ at work in a process of its own. */
export interface ServerProcess extends AsyncDisposable {
  readonly pid: number
  /** 0 for one that listens on no TCP port. */
  readonly port: number
  /** Collects its garbage. */
  collectGarbage(): Promise<void>
}

/**
 * Starts a server and resolves when requests can come.
 *
 * @param place What runs it, and the checkout that it is of.
 * @param name Its file in servers/.
 * @param options Handed to it.
 * @throws Error if it ends instead; the message has what it wrote.
 */
export async function startServer(
  { node, command = [node, '--expose-gc'], checkout = OURS }: Place,
  name: string,
  options = {},
): Promise<ServerProcess> {
  const script = join(checkout, 'test/bench/servers', name)
  const [program = '', ...args] = command
  const child = spawn(program, [...args, script, JSON.stringify(options)], {
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-8192)
  })
  const exit = once(child, 'exit')
  const ended = exit.then(([code, signal]) => {
    throw new Error(`${name} ended (${signal ?? code}): ${errors}`)
  })
  ended.catch(() => {}) // thrown to whoever waits for a message
  const [announced] = await Promise.race([once(child, 'message'), ended])
  const { port }: { port: number } = announced
  return {
    pid: child.pid ?? 0,
    port,
    async collectGarbage() {
      child.send('collect')
      await Promise.race([once(child, 'message'), ended])
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exit
    },
  }
}
