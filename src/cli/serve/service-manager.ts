import { spawn } from 'node:child_process'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'

/**
 * Tells systemd the state of this process (`sd_notify`) if it asks for that by NOTIFY_SOCKET. Node has no datagram sockets of Unix, so the
 * program `systemd-notify` sends it: assignments such as `READY=1` and `STATUS=...`.
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

/**
 * Reads the certificate anew and reloads the app at each SIGHUP, also during a reload; `fixed` says why a server without `reload` has none. Returns what
 * tells the service manager a status and that the server is ready, now and after each reload.
 */
export function reloadBySignal(
  begun: Promise<{ reload?(): Promise<void>; renewCertificate?(): Promise<void> }>,
  logger: Logger,
  fixed: string,
): (status: string) => Promise<void> {
  let status: string | undefined
  let last = 0
  const notify = async (...state: string[]) => {
    if (status !== undefined) await notifyServiceManager(logger, ...state)
  }
  const reload = async () => {
    const server = await begun
    await server.renewCertificate?.()
    if (server.reload === undefined) return logger.warn?.(`mongrel2-fetch got SIGHUP and goes on: ${fixed}`)
    logger.info?.('mongrel2-fetch got SIGHUP: new workers load the app')
    const number = ++last
    await notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, 'STATUS=Loads the app anew')
    try {
      await server.reload()
      logger.info?.('mongrel2-fetch has replaced its workers')
    } catch (error) {
      if (!(error instanceof Mongrel2Error && error.code === 'closed')) {
        logger.error?.(`mongrel2-fetch could not load the app anew, and serves on as before: ${messageOf(error)}`)
      }
    }
    if (number === last) await notify('READY=1', `STATUS=${status}`)
  }
  process.on('SIGHUP', () => {
    reload().catch(() => {}) // the server did not start, which the command reports
  })
  return async (text) => {
    status = text
    await notify('READY=1', `STATUS=${text}`)
  }
}
