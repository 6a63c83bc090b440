import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'

/** An app at work on @hono/node-server. */
export interface NodeServer extends AsyncDisposable {
  readonly port: number
  stop(): Promise<void>
}

/**
 * Serves an app on @hono/node-server, in a process of its own.
 *
 * @param module The URL of a module whose default export has a `fetch`.
 * @param options.overrideGlobalObjects Whether it replaces the global Request and Response, as it does by default.
 */
export async function startNodeServer(
  module: URL,
  { overrideGlobalObjects = true }: { overrideGlobalObjects?: boolean } = {},
): Promise<NodeServer> {
  const script = fileURLToPath(new URL('node-server-process.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', script, module.href, String(overrideGlobalObjects)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const exit = once(child, 'exit')
  const started = once(child, 'message')
  const ended = exit.then(() => {
    throw new Error(`@hono/node-server did not start: ${errors}`)
  })
  ended.catch(() => {}) // it ends without anybody waiting for it to start
  const [address] = (await Promise.race([started, ended])) as [AddressInfo]
  const stop = async () => {
    if (child.connected) child.disconnect()
    await exit
  }
  return { port: address.port, stop, [Symbol.asyncDispose]: stop }
}
