import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Running } from './running.ts'

/** So many WebSocket clients of a contender, in a process of their own. */
export interface Audience extends AsyncDisposable {
  /**
   * Resolves when every client has got what `send` sends, and nothing else.
   *
   * @param text Of at most 125 bytes.
   * @throws Error if a client gets anything else, or is disconnected.
   */
  hear(text: string, send: () => Promise<unknown>): Promise<void>
}

/** Opens WebSockets and resolves when all are open. */
export async function openAudience({ origin }: Running, count: number): Promise<Audience> {
  const script = fileURLToPath(new URL('servers/audience.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, new URL(origin).port], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exit = once(child, 'exit')
  const next = async () => {
    const [message] = await once(child, 'message')
    const { failure }: { failure?: string } = message
    if (failure !== undefined) throw new Error(failure)
  }
  const ask = async (message: object) => {
    const answer = next()
    child.send(message)
    await answer
  }
  const stop = async () => {
    if (child.connected) child.disconnect()
    await exit
  }
  try {
    await ask({ open: count })
  } catch (error) {
    await stop()
    throw error
  }
  return {
    async hear(text, send) {
      await ask({ expect: text })
      const heard = next()
      await Promise.all([send(), heard])
    },
    [Symbol.asyncDispose]: stop,
  }
}
