import { spawn } from 'node:child_process'
import type { Logger } from '../../runtime/log.ts'

/**
 * Tells systemd how we are (`sd_notify`), where it has asked for it by NOTIFY_SOCKET. Node has no datagram sockets of Unix, so the
 * program `systemd-notify` sends for us: it is there wherever systemd is.
 *
 * @param state Assignments such as `READY=1` and `STATUS=...`.
 */
export async function notifyServiceManager(logger: Logger, ...state: string[]): Promise<void> {
  if (!process.env.NOTIFY_SOCKET) return
  await new Promise<void>((resolve) => {
    const child = spawn('systemd-notify', state, { stdio: 'ignore' })
    const failed = (how: string) => {
      logger.warn?.(`mongrel2-fetch: systemd was not told ${state[0]}: systemd-notify ${how}`)
      resolve()
    }
    child.on('error', (error) => failed(`cannot be run: ${error.message}`))
    child.on('exit', (code, signal) => (code === 0 ? resolve() : failed(`ended with ${signal ?? code}`)))
  })
}
