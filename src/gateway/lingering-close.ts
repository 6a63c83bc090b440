import type { Socket } from 'node:net'

/** Milliseconds that a client may still send after our end, between two pieces and in all: a reset could destroy what it has not read. */
const LINGER_QUIET = 1000
export const LINGER_TIME = 30_000

/** Ends a connection after what was written, and discards for a while what the client still sends. */
export function lingeringClose(socket: Socket): void {
  socket.end()
  socket.resume()
  if (socket.writableFinished) destroyWhenQuiet(socket)
  else socket.once('finish', () => destroyWhenQuiet(socket))
  if (socket.readableEnded) closeSoon(socket)
  else socket.once('end', () => closeSoon(socket))
}

/** Destroys a socket when nothing more comes, or after `LINGER_TIME`; returns a function that cancels this. */
export function destroyWhenQuiet(socket: Socket): () => void {
  let read = socket.bytesRead
  let left = LINGER_TIME / LINGER_QUIET
  const timer = setInterval(() => {
    if (socket.bytesRead === read || --left === 0) {
      clearInterval(timer)
      socket.destroy()
    }
    read = socket.bytesRead
  }, LINGER_QUIET).unref()
  const cancel = () => clearInterval(timer)
  socket.once('close', cancel)
  return cancel
}

/** Ends a connection after what was written. */
export function closeSoon(socket: Socket): void {
  if (socket.writable) socket.end()
  if (socket.writableFinished) socket.destroy()
  else socket.once('finish', () => socket.destroy())
}
