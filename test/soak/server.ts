import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { EndpointOptions } from '../../src/index.ts'
import type { Measures } from './server-process.ts'

/** The server under load, in a process of its own. */
export interface SoakServer {
  measure(): Promise<Measures>
  stop(): Promise<void>
}

export async function startSoakServer(endpoints: readonly EndpointOptions[]): Promise<SoakServer> {
  const script = fileURLToPath(new URL('server-process.ts', import.meta.url))
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', script, JSON.stringify(endpoints)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exit = once(child, 'exit')
  let stopping = false
  const ended = exit.then(([code, signal]) => {
    if (!stopping) throw new Error(`the server ended with ${code ?? signal}`)
  })
  ended.catch(() => {}) // told to whoever asks next
  const answer = async () => (await Promise.race([once(child, 'message'), ended.then(() => [])]))[0]
  await answer()
  return {
    measure: () => {
      child.send('measure')
      return answer()
    },
    stop: async () => {
      stopping = true
      child.disconnect()
      await exit
    },
  }
}
