import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/**
 * Above the last that fetch refuses (10080), and below those that Linux gives to connections and to programs that ask for any port: nobody
 * gets one of these by chance before it is used.
 */
const FIRST_PORT = 11_000
const LAST_PORT = 32_767

/** Ports of this machine that nobody listens on, as many as asked for. */
export async function freePorts(count: number): Promise<number[]> {
  const listeners = new Map<number, Server>()
  while (listeners.size < count) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1)
    const server = await listen(port)
    if (server !== undefined) listeners.set(port, server)
  }
  await Promise.all([...listeners.values()].map((server) => once(server.close(), 'close')))
  return [...listeners.keys()]
}

/** A port of this machine that nobody listens on. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1)
  return port
}

/** Listens on a port; undefined where another does. */
async function listen(port: number): Promise<Server | undefined> {
  const server = createServer()
  const listening = once(server, 'listening')
  server.listen(port)
  try {
    await listening
    return server
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
    throw error
  }
}
