import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { rssOf } from './process-usage.ts'
import type { Running } from './running.ts'

/** Connections that are opened at once. */
const AT_ONCE = 250
/** Until what was done for requests has been tidied up, in milliseconds. */
const SETTLED = 3000

/**
 * Opens connections that ask once and stay, and measures what the handler's process has grown by when all of them are idle.
 *
 * @returns Bytes.
 * @throws Error if a connection fails or does not stay open.
 */
export async function addedByIdleConnections({ handler, origin }: Running, count: number): Promise<number> {
  const rss = async () => {
    await sleep(SETTLED)
    await handler.collectGarbage?.()
    return rssOf(handler.pid)
  }
  const before = await rss()
  const sockets: Socket[] = []
  try {
    while (sockets.length < count) {
      sockets.push(
        ...(await Promise.all(Array.from({ length: AT_ONCE }, () => askAndStay(Number(new URL(origin).port))))),
      )
    }
    const after = await rss()
    const gone = sockets.filter((socket) => socket.readyState !== 'open').length
    if (gone > 0) throw new Error(`${gone} of ${count} idle connections did not stay open`)
    return after - before
  } finally {
    for (const socket of sockets) socket.resetAndDestroy() // leaves no port in TIME_WAIT
  }
}

async function askAndStay(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  let answer = ''
  while (!answer.endsWith('Hello World')) {
    const [bytes]: Buffer[] = await once(socket, 'data')
    answer += bytes?.toString('latin1')
  }
  socket.resume() // an end shows in its state
  socket.on('error', () => {})
  return socket
}
