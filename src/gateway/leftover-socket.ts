import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'

/**
 * Removes the socket that a program left behind when it was killed: nobody else can listen there until it is gone.
 *
 * @throws Error where the path is something else, which is left alone.
 */
export async function removeLeftoverSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket())
    throw new Error(`expected a path that is free or a socket's, but ${path} is something else; choose another`)
  if (await refusesConnections(path)) await unlink(path)
}

function refusesConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy()
      resolve(false)
    })
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
  })
}
